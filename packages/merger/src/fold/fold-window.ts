import {
  indexSchema,
  replicasTable,
  systemTables,
  TidemarkError,
  type Customization,
  type Schema,
} from '@tidemark/model';
import { AuthorView } from './author-view.js';
import { comesAgain, placeAgain } from './decide-again.js';
import { decideEnvelope, quarantine } from './decide-envelope.js';
import {
  decideCustomization,
  decideForeign,
  decideResolution,
  decideWrite,
} from './decide-entry.js';
import { decideGrant } from './decide-grant.js';
import { decideEnroll, decidePolicy, decideRevoke, decideToken } from './decide-identity.js';
import { decideLife } from './decide-life.js';
import { decodeMessageEntry, replicasOf, type DecodedMessage } from './decoded-message.js';
import type { FoldState } from './fold-state.js';
import type { InputEntry } from './input-entry.js';
import { openEnvelope, type OpenedEnvelope } from './open-envelope.js';
import { shadowKey, Wanted } from './overlay.js';
import type { FoldContext, Window } from './window.js';
import type { WindowAhead } from './window-ahead.js';

/** Digests are compared, and a window ends, at the latest at every such message. */
export const windowEndsAtEvery = 1_000;

const isBoundary = (kind: InputEntry['kind'] | undefined): boolean =>
  kind === 'customization' ||
  kind === 'incarnation' ||
  kind === 'life' ||
  kind === 'policy' ||
  kind === 'again';

/**
 * Number of messages, from the first, that make the next window. Grants, customizations and incarnations
 * read or change what the rest of a window foresees, so that they stand in windows of their own kind.
 */
export const windowLength = (
  messages: readonly DecodedMessage[],
  bounds: {
    readonly bytesMax: number;
    readonly operationsMax: number;
    readonly messagesMax: number;
  },
): number => {
  let bytes = 0;
  let operations = 0;
  let grants = false;
  for (let i = 0; i < messages.length; i += 1) {
    const one = messages[i] as DecodedMessage;
    const kind = one.entry?.kind;
    if (i > 0 && (kind === 'incarnation' || kind === 'again')) return i;
    if (i > 0 && grants !== (kind === 'grant')) return i;
    if (i > 0 && one.entry?.kind === 'grant' && one.entry.request.origin !== null) return i;
    grants ||= kind === 'grant';
    bytes += one.message.bytes.length;
    operations += one.operations;
    const full = bytes > bounds.bytesMax || operations > bounds.operationsMax;
    if (full && i > 0) return i;
    if (full || isBoundary(kind) || i + 1 >= bounds.messagesMax) return i + 1;
    if (one.message.position.seq % windowEndsAtEvery === 0) return i + 1;
  }
  return messages.length;
};

/** Message ready to be decided: chains verified, transactions decoded, everything loaded. */
interface PreparedMessage extends DecodedMessage {
  readonly opened: OpenedEnvelope | undefined;
  readonly view: AuthorView | undefined;
}

const prepareEnvelope = (
  window: Window,
  decoded: DecodedMessage,
  views: Map<string, AuthorView>,
  wanted: Wanted,
  ahead: WindowAhead | undefined,
): PreparedMessage => {
  const { entry, envelope } = decoded;
  if (entry?.kind !== 'envelope' || envelope === undefined)
    return { ...decoded, opened: undefined, view: undefined };
  const { replica } = entry.caller;
  const state = window.overlay.replicas.get(replica);
  const mergedTo = state?.mergedTo ?? 0;
  const early = ahead?.opened.get(decoded);
  const opened =
    early?.mergedTo === mergedTo
      ? early.opened
      : openEnvelope(envelope, mergedTo, window.context.hash);
  if (opened === undefined || state === undefined)
    return { ...decoded, opened, view: undefined, problem: 'chain' };
  let view = views.get(replica);
  if (view === undefined) {
    view = new AuthorView(window, state, state);
    views.set(replica, view);
  }
  for (const { transaction, first } of opened.transactions)
    if (transaction !== undefined) view.collect(transaction, (i) => first + i, wanted);
  return { ...decoded, opened, view };
};

/** Loads everything that the messages are known to read, in few sorted reads. */
const prepare = async (
  window: Window,
  messages: readonly DecodedMessage[],
  ahead: WindowAhead | undefined,
): Promise<readonly PreparedMessage[]> => {
  const { overlay } = window;
  await overlay.replicas.load(overlay.store, messages.flatMap(replicasOf));
  const wanted = new Wanted();
  const views = new Map<string, AuthorView>();
  const prepared = messages.map((one) => prepareEnvelope(window, one, views, wanted, ahead));
  for (const { entry } of messages) {
    if (entry?.kind === 'envelope' && window.needsIdentities)
      wanted.record(replicasTable, entry.caller.replica);
    if (entry?.kind === 'write') for (const { table, id } of entry.ops) wanted.record(table, id);
    if (entry?.kind !== 'foreign') continue;
    for (const { table, id } of entry.rows) {
      wanted.record(table, id);
      wanted.shadows.push(shadowKey(entry.backend, table, id));
    }
  }
  await overlay.load(wanted);
  return prepared;
};

const startIncarnation = (
  window: Window,
  state: FoldState,
  entry: Extract<InputEntry, { readonly kind: 'incarnation' }>,
): void => {
  const { position, digest } = entry;
  const here =
    position.generation === state.position.generation && position.seq === state.position.seq;
  // More than one further: a cursor proved that the number between was given before.
  if (!here || digest !== state.digest || entry.incarnation <= state.incarnation)
    throw new TidemarkError('input-mismatch', 'the input continues from another checkpoint', {
      reason: 'incarnation',
      generation: position.generation,
      seq: position.seq,
    });
  window.incarnation = entry.incarnation;
};

/** Makes the context of a customization; loads the CRDT when it has a text field. */
export type ContextOf = (customization: Customization) => Promise<FoldContext>;

const decideOne = async (
  window: Window,
  one: PreparedMessage,
  state: FoldState,
  contextOf: ContextOf,
): Promise<void> => {
  const { message, entry } = one;
  const { position, bytes } = message;
  switch (entry?.kind) {
    case undefined:
      quarantine(window, position, one.problem, null, bytes);
      return;
    case 'envelope': {
      const { caller, envelope } = entry;
      const brought = { position, receivedAt: message.atMs, caller, bytes: envelope };
      const { opened, problem, view } = one;
      await decideEnvelope(window, { ...brought, opened, problem }, view);
      return;
    }
    case 'write':
      decideWrite(window, entry);
      return;
    case 'foreign':
      await decideForeign(window, entry);
      return;
    case 'grant':
      await decideGrant(window, entry.caller, entry.request);
      return;
    case 'customization': {
      const next = await decideCustomization(window, entry);
      if (next !== undefined) window.context = await contextOf(next);
      return;
    }
    case 'resolution':
      await decideResolution(window, entry);
      return;
    case 'life':
      await decideLife(window, entry.id);
      return;
    case 'token':
      await decideToken(window, entry);
      return;
    case 'enroll':
      await decideEnroll(window, entry);
      return;
    case 'revoke':
      await decideRevoke(window, entry);
      return;
    case 'policy':
      await decidePolicy(window, entry);
      return;
    case 'incarnation':
      startIncarnation(window, state, entry);
      return;
    case 'generation':
      return;
    case 'again':
      window.counts.duplicates += 1;
  }
};

/** Message that came again as the entry that it holds; what this line has had stays as it is. */
const takeAgain = async (
  window: Window,
  state: FoldState,
  one: DecodedMessage,
): Promise<DecodedMessage> => {
  const { entry, message } = one;
  if (entry?.kind !== 'again') return one;
  const inner = decodeMessageEntry({ ...message, bytes: entry.entry });
  if (inner?.entry === undefined || !comesAgain(inner.entry.kind))
    return { ...one, entry: undefined, problem: 'again' };
  const place = await placeAgain(window, state, entry.of);
  if (place === 'unknown') return { ...one, entry: undefined, problem: 'again too late' };
  return place === 'had' ? one : inner;
};

/** Decides the messages of one window, in order. Nothing is written to the store. */
export const decideWindow = async (
  window: Window,
  state: FoldState,
  messages: readonly DecodedMessage[],
  contextOf: ContextOf,
  ahead?: WindowAhead,
): Promise<void> => {
  const [first] = messages;
  const taken = first?.entry?.kind === 'again' ? [await takeAgain(window, state, first)] : messages;
  const prepared = await prepare(window, taken, ahead);
  for (const one of prepared) {
    window.now = Math.max(window.now, one.message.atMs);
    window.counts.messages += 1;
    await decideOne(window, one, state, contextOf);
    window.settle();
  }
  window.counts.operations += window.operations;
};

/** Schema of a customization with the system tables. */
export const schemaOf = (customization: Customization): Schema =>
  indexSchema(customization, systemTables);
