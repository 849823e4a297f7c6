import { isReplicaId, isWellFormed, TidemarkError, utf8Encode } from '@tidemark/model';
import type { Endpoint } from '@tidemark/ports';

/** Longest token of a tenant in bytes: names of streams hold it, and files are named by those. */
export const tenantTokenBytesMax = 160;

/**
 * Tenant as one token of a subject and of a stream's name: small letters, digits and `-` stand for
 * themselves, every other byte is `_` and two hexadecimal digits. Different tenants give different tokens,
 * also where names of files ignore case. Throws `invalid-id` for a tenant whose token would be empty or
 * too long, or whose name is no well-formed text.
 */
export const tenantToken = (tenant: string): string => {
  let token = '';
  for (const byte of utf8Encode(tenant)) {
    const character = String.fromCharCode(byte);
    token += /[a-z0-9-]/.test(character) ? character : `_${byte.toString(16).padStart(2, '0')}`;
  }
  if (!isWellFormed(tenant) || token === '' || token.length > tenantTokenBytesMax)
    throw new TidemarkError('invalid-id', 'the name of the tenant does not fit NATS', {
      bytes: token.length,
      max: tenantTokenBytesMax,
    });
  return token;
};

/** Name of the stream that holds one generation of a tenant's input. */
export const streamName = (token: string, generation: number): string =>
  `OPS-${token}-${generation}`;

/** Generation in the name of a stream; undefined when the stream is none of the tenant's. */
export const streamGeneration = (token: string, name: string): number | undefined => {
  const prefix = `OPS-${token}-`;
  const digits = name.slice(prefix.length);
  return name.startsWith(prefix) && /^[1-9]\d{0,9}$/.test(digits) ? Number(digits) : undefined;
};

/** Token of subjects that stands for a device without a credential of its own. */
export const noDevice = '-';

/** Subject of a device's envelopes: a device may publish here and nowhere else into the input. */
export const opsSubject = (
  token: string,
  generation: number | '*',
  device: string,
  replica: string,
): string => `tm.${token}.ops.${generation}.${device}.${replica}`;

/** Subject of the entries that servers write. */
export const entrySubject = (token: string, generation: number | '*'): string =>
  `tm.${token}.in.${generation}.entry`;

/** Subject of the one message that ends a generation. */
export const endSubject = (token: string, generation: number): string =>
  `tm.${token}.in.${generation}.end`;

/**
 * Subject of the message that begins a generation: the only one of its stream until then. What makes it `unique`
 * nobody else knows, who could publish there, or have JetStream's word go there.
 */
export const beginSubject = (token: string, generation: number, unique: string): string =>
  `tm.${token}.in.${generation}.begin-${unique}`;

/** Subjects that the stream of a generation stores once it has begun. */
export const streamSubjects = (token: string, generation: number): string[] => [
  `tm.${token}.ops.${generation}.*.*`,
  entrySubject(token, generation),
  endSubject(token, generation),
];

/** What the subject of a stored message says of it. */
export type StoredKind =
  | { readonly kind: 'entry' }
  | { readonly kind: 'end' }
  | { readonly kind: 'envelope'; readonly device: string; readonly replica: string };

/** Reads the subject of a stored message; undefined for one that the stream should not hold. */
export const storedKind = (token: string, subject: string): StoredKind | undefined => {
  const [tm, tenant, part, , name, replica, ...more] = subject.split('.');
  if (tm !== 'tm' || tenant !== token || name === undefined || more.length > 0) return undefined;
  if (part === 'in' && replica === undefined) {
    if (name === 'end') return { kind: name };
    return name === 'entry' || name.startsWith('begin-') ? { kind: 'entry' } : undefined;
  }
  return part === 'ops' && replica !== undefined
    ? { kind: 'envelope', device: name, replica }
    : undefined;
};

/** Asks that the network layer answers itself, besides the endpoints of the service. */
export type Ask = Endpoint | 'hello';

const asks: readonly Ask[] = [
  'hello',
  'resume',
  'grant',
  'customization',
  'pull',
  'compare',
  'sync-log',
  'enroll',
];

/** Ask, or ask and name of the server that is to answer: one token of the subject. */
const askToken = (ask: Ask, server: string | undefined): string =>
  server === undefined ? ask : `${ask}~${server}`;

/** Whether a text is the name of a server in subjects: 1 to 32 hexadecimal digits. */
export const isServerName = (text: string): boolean => /^[0-9a-f]{1,32}$/.test(text);

/** Subject on which a replica calls an endpoint: of any server, or of the named one. */
export const askSubject = (
  token: string,
  ask: Ask,
  device: string,
  replica: string,
  server?: string,
): string => `tm.${token}.ask.${askToken(ask, server)}.${device}.${replica}`;

/** Subjects of all calls of all replicas of a tenant: to any server, or to the named one. */
export const asksOfTenant = (token: string, server?: string): readonly string[] =>
  asks.map((ask) => `tm.${token}.ask.${askToken(ask, server)}.*.*`);

/** A call as its subject names it. */
export interface AskName {
  readonly ask: Ask;
  readonly device: string;
  readonly replica: string;
}

/** Endpoint, device and replica of a call's subject; undefined when it names none. */
export const askOf = (subject: string): AskName | undefined => {
  const [, , , name, device, replica, ...more] = subject.split('.');
  const [asked, server] = name?.split('~', 2) ?? [];
  const ask = asks.find((one) => one === asked);
  if (server !== undefined && !isServerName(server)) return undefined;
  if (ask === undefined || device === undefined || replica === undefined || more.length > 0)
    return undefined;
  return isReplicaId(replica) && isReplicaId(device) ? { ask, device, replica } : undefined;
};

/** Prefix of the inboxes of a device: its credential lets it listen there and nowhere else. */
export const inboxPrefixOf = (device: string): string => `_INBOX.${device}`;

/**
 * Whether a server may answer on a subject that a caller named. Only a caller's own inbox: with the server's
 * rights the answer could go where the caller may not publish, such as into the input.
 */
export const mayAnswerOn = (reply: string, device: string): boolean =>
  device === noDevice
    ? reply !== '' && !/^(tm|\$[^.]*)\./.test(reply)
    : reply.startsWith(`${inboxPrefixOf(device)}.`);

/** Subject of the ticks of a tenant: a tick says that a server applied something. */
export const tickSubject = (token: string): string => `tm.${token}.tick`;

/** Subject on which the servers of a tenant talk with each other. */
export const serversSubject = (token: string): string => `tm.${token}.servers`;
