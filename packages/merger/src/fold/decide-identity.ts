import {
  devicesTable,
  fromBase64,
  fromHex,
  isReplicaId,
  policiesTable,
  replicasTable,
  tokensTable,
  type Envelope,
  type RowFields,
  type TableId,
  type Value,
} from '@tidemark/model';
import { envelopeBytes } from '@tidemark/protocol';
import type { InputCaller, InputEntry } from './input-entry.js';
import { foldAuthor, type Window } from './window.js';

type Entry<K extends InputEntry['kind']> = Extract<InputEntry, { readonly kind: K }>;

/** Record of `policies` that demands signatures. */
export const identitiesPolicy = 'identities';
/** Value of the policy that demands signatures. */
export const identitiesRequired = 'required';

/** An enrolled replica. */
export interface Enrolment {
  readonly replica: string;
  readonly user: string;
  readonly device: string;
  /** Ed25519, hexadecimal. */
  readonly publicKey: string;
  /** True when the replica itself was revoked; its device may be, too. */
  readonly isRevoked: boolean;
  /** Replica whose copy it is, if it was enrolled as one. */
  readonly origin: string | null;
}

const live = 'live';
const revoked = 'revoked';

const text = (value: Value | undefined): string => (typeof value === 'string' ? value : '');

/** Reads a row of `replicas`. */
export const enrolmentOf = (replica: string, fields: RowFields): Enrolment => ({
  replica,
  user: text(fields[1]),
  device: text(fields[2]),
  publicKey: text(fields[3]),
  isRevoked: fields[4] !== live,
  origin: typeof fields[5] === 'string' ? fields[5] : null,
});

/** A one-time token as it is stored. */
export interface EnrolmentToken {
  readonly user: string;
  readonly device: string;
  readonly expiresOn: number;
  /** Replica that used it; null while nobody has. */
  readonly usedBy: string | null;
}

/** Reads a row of `enrolment_tokens`. */
export const tokenOf = (fields: RowFields): EnrolmentToken => ({
  user: text(fields[1]),
  device: text(fields[2]),
  expiresOn: Number(fields[3]),
  usedBy: typeof fields[4] === 'string' ? fields[4] : null,
});

/** Whether the fields of a row of `devices` say that it was revoked. */
export const isDeviceRevoked = (fields: RowFields | undefined): boolean =>
  fields !== undefined && fields[2] === revoked;

const rowOf = async (
  window: Window,
  table: TableId,
  id: string,
): Promise<RowFields | undefined> => {
  await window.overlay.loadRecord(table, id);
  return window.overlay.records.get(table, id)?.row.fields;
};

const enrolmentIn = async (window: Window, replica: string): Promise<Enrolment | undefined> => {
  const fields = await rowOf(window, replicasTable, replica);
  return fields && enrolmentOf(replica, fields);
};

/** Whether a replica may act: enrolled, and neither it nor its device revoked. */
const isLive = async (window: Window, enrolment: Enrolment): Promise<boolean> =>
  !enrolment.isRevoked && !isDeviceRevoked(await rowOf(window, devicesTable, enrolment.device));

/** Why a replica may not have an epoch now, where signatures are needed; undefined when it may. */
export const grantProblem = async (
  window: Window,
  caller: InputCaller,
  origin: string | null,
): Promise<'unknown-replica' | 'revoked' | 'user' | 'origin' | undefined> => {
  if (!window.needsIdentities) return undefined;
  const enrolment = await enrolmentIn(window, caller.replica);
  if (enrolment === undefined) return 'unknown-replica';
  if (!(await isLive(window, enrolment))) return 'revoked';
  if (enrolment.user !== caller.user) return 'user';
  return origin !== null && enrolment.origin !== origin ? 'origin' : undefined;
};

/**
 * Why an envelope is not its replica's, where signatures are needed; undefined when it is. A function of the
 * input: what was revoked before it in the order is refused, whenever it was signed.
 */
export const signatureProblem = async (
  window: Window,
  caller: InputCaller,
  envelope: Envelope,
): Promise<string | undefined> => {
  if (!window.needsIdentities) return undefined;
  if (envelope.signature === '') return 'unsigned';
  const enrolment = await enrolmentIn(window, envelope.replica);
  if (enrolment === undefined) return 'unknown-replica';
  if (!(await isLive(window, enrolment))) return 'revoked';
  if (enrolment.user !== envelope.user) return 'user';
  if (caller.device !== undefined && caller.device !== enrolment.device) return 'device';
  const key = fromHex(enrolment.publicKey);
  const signature = fromBase64(envelope.signature);
  const bytes = envelopeBytes(window.context.tenant, envelope);
  const isSigned =
    key !== undefined && signature !== undefined && window.context.verify(key, bytes, signature);
  return isSigned ? undefined : 'signature';
};

const change = (
  window: Window,
  table: TableId,
  id: string,
  fields: RowFields,
  by: string,
): void => {
  window.begin();
  window.writeSystem(table, id, fields, by, by);
  window.finish();
};

/** Keeps a one-time token. A hash that is known already changes nothing. */
export const decideToken = async (window: Window, entry: Entry<'token'>): Promise<void> => {
  if ((await rowOf(window, tokensTable, entry.hash)) !== undefined) return;
  const fields = { 1: entry.user, 2: entry.device, 3: entry.expiresOn };
  change(window, tokensTable, entry.hash, fields, entry.by);
};

const mayEnrol = async (window: Window, entry: Entry<'enroll'>): Promise<boolean> => {
  const { replica, user, device, token, origin } = entry;
  if (!isReplicaId(replica)) return false;
  if (isDeviceRevoked(await rowOf(window, devicesTable, device))) return false;
  const before = await enrolmentIn(window, replica);
  // A new key for an old replica, whose own was lost: only for the same user, on the same device.
  if (before !== undefined)
    if (before.isRevoked || before.user !== user || before.device !== device) return false;
  const state = window.overlay.replicas.get(replica);
  if (state !== undefined && state.user !== user) return false;
  if (origin !== null) {
    const parent = await enrolmentIn(window, origin);
    return parent !== undefined && parent.user === user && (await isLive(window, parent));
  }
  if (token === null) return true;
  const fields = await rowOf(window, tokensTable, token);
  const known = fields && tokenOf(fields);
  return (
    known !== undefined &&
    known.usedBy === null &&
    known.user === user &&
    known.device === device &&
    window.now <= known.expiresOn
  );
};

/**
 * Enrols a replica. The same entry twice changes nothing; of two that name one token the first in the order
 * has it; what may not be is passed over, and the server that wrote the entry sees that.
 */
export const decideEnroll = async (window: Window, entry: Entry<'enroll'>): Promise<void> => {
  const { replica, user, device, publicKey, token, origin } = entry;
  const before = await enrolmentIn(window, replica);
  if (before?.publicKey === publicKey) return;
  await window.overlay.replicas.load(window.overlay.store, [replica]);
  if (!(await mayEnrol(window, entry))) return;
  const spent = token === null ? undefined : await rowOf(window, tokensTable, token);
  window.begin();
  const fields = { 1: user, 2: device, 3: publicKey, 4: live, 5: origin, 6: token };
  window.writeSystem(replicasTable, replica, fields, user, foldAuthor);
  if (token !== null && spent !== undefined)
    window.writeSystem(tokensTable, token, { ...spent, 4: replica }, user, foldAuthor);
  if ((await rowOf(window, devicesTable, device)) === undefined)
    window.writeSystem(devicesTable, device, { 1: user, 2: live }, user, foldAuthor);
  window.finish();
};

/**
 * Revokes a replica or a device. A device that is not known yet is revoked all the same: its token may be on
 * its way.
 */
export const decideRevoke = async (window: Window, entry: Entry<'revoke'>): Promise<void> => {
  const isDevice = entry.of === 'device';
  if (!isReplicaId(entry.id)) return;
  const table = isDevice ? devicesTable : replicasTable;
  const fields = await rowOf(window, table, entry.id);
  if (fields === undefined && !isDevice) return;
  const stateField = isDevice ? 2 : 4;
  if (fields?.[stateField] === revoked) return;
  change(window, table, entry.id, { ...fields, [stateField]: revoked }, entry.by);
};

/** Demands signatures from the next message on. */
export const decidePolicy = async (window: Window, entry: Entry<'policy'>): Promise<void> => {
  if (window.needsIdentities) return;
  await window.overlay.loadRecord(policiesTable, identitiesPolicy);
  change(window, policiesTable, identitiesPolicy, { 1: entry.identities }, entry.by);
  window.needsIdentities = true;
};
