import {
  devicesTable,
  fromBase64,
  fromHex,
  replicasTable,
  TidemarkError,
  type RowFields,
  type TableId,
} from '@tidemark/model';
import type { Caller, Clock, Crypto, Endpoint } from '@tidemark/ports';
import {
  callBytes,
  challengeFits,
  makeChallenge,
  openSignedCall,
  type CallProof,
  type Mac,
} from '@tidemark/protocol';
import { enrolmentOf, isDeviceRevoked, type Enrolment } from '../fold/decide-identity.js';
import type { FoldState } from '../fold/fold-state.js';
import { mergeRecord } from '../fold/stored-record.js';
import type { AppliedStore } from './applied-store.js';
import type { FoldDriver } from './fold-driver.js';

/** What calls are checked with. */
export interface AuthenticateDeps {
  readonly tenant: string;
  readonly applied: AppliedStore;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly mac: Mac;
  readonly driver: Pick<FoldDriver, 'nudge' | 'within'>;
  /** Whether what the input held when the server was opened is applied. */
  readonly hasCaughtUp: () => boolean;
  /** Resolves when everything that the input holds at the call is applied. */
  readonly settle: () => Promise<FoldState>;
}

/** Why a call was refused, for the device: it mends what it can by itself. */
export type RefusalReason =
  'signature-needed' | 'challenge' | 'unknown-replica' | 'signature' | 'token';

/** Refuses a call; the answer hands out a challenge to sign the next one with. */
export const unauthenticated = (
  deps: Pick<AuthenticateDeps, 'tenant' | 'clock' | 'mac'>,
  { replica }: Caller,
  reason: RefusalReason,
  message: string,
): TidemarkError =>
  new TidemarkError('unauthenticated', message, {
    reason,
    challenge: makeChallenge({ tenant: deps.tenant, replica }, deps.clock.nowMs(), deps.mac),
  });

/** Fields of a record of a system table; undefined when it is not there. */
export const systemRow = async (
  { applied }: Pick<AuthenticateDeps, 'applied'>,
  table: TableId,
  id: string,
): Promise<RowFields | undefined> => {
  const [stored] = await applied.store.getRecords(table, [id]);
  return stored === undefined ? undefined : mergeRecord(stored).row.fields;
};

/** An enrolled replica, as it is applied now. */
export const readEnrolment = async (
  deps: Pick<AuthenticateDeps, 'applied'>,
  replica: string,
): Promise<(Enrolment & { readonly isDeviceRevoked: boolean }) | undefined> => {
  const fields = await systemRow(deps, replicasTable, replica);
  if (fields === undefined) return undefined;
  const enrolment = enrolmentOf(replica, fields);
  const device = await systemRow(deps, devicesTable, enrolment.device);
  return { ...enrolment, isDeviceRevoked: isDeviceRevoked(device) };
};

/** Whether a proof is the signature of a key over the call. */
export const isProven = (
  deps: AuthenticateDeps,
  caller: Caller,
  endpoint: Endpoint,
  body: Uint8Array,
  { proof, publicKey }: { readonly proof: CallProof; readonly publicKey: string },
): boolean => {
  const key = fromHex(publicKey);
  const signature = fromBase64(proof.signature);
  if (key === undefined || signature === undefined) return false;
  const { tenant, crypto } = deps;
  const { challenge } = proof;
  const call = { tenant, replica: caller.replica, endpoint, challenge, body };
  return crypto.ed25519.verify(key, callBytes(call, crypto.sha256), signature);
};

/** Message and proof of a call whose challenge is fresh. Throws `unauthenticated` with the next challenge. */
export const openProof = (
  deps: AuthenticateDeps,
  caller: Caller,
  bytes: Uint8Array,
): { readonly body: Uint8Array; readonly proof: CallProof } => {
  const { proof, body } = openSignedCall(bytes);
  if (proof === null)
    throw unauthenticated(deps, caller, 'signature-needed', 'the call is not signed');
  const { tenant, clock, mac } = deps;
  if (!challengeFits(proof.challenge, { tenant, replica: caller.replica }, clock.nowMs(), mac))
    throw unauthenticated(deps, caller, 'challenge', 'the challenge is none, or too old');
  return { body, proof };
};

/** Longest wait of a call for a server that has not yet read what its input held when it was opened, ms. */
export const demandWaitMs = 500;

/**
 * Whether identities are demanded. A store that was lost or put back knows nothing of a demand that its input
 * holds: it says no only once it has caught up. Throws `behind`.
 */
const isDemanded = async ({ applied, driver, hasCaughtUp }: AuthenticateDeps): Promise<boolean> => {
  const isKnown = (): boolean => applied.applied().needsIdentities || hasCaughtUp();
  if (!isKnown()) {
    driver.nudge();
    // Whatever keeps the fold from it: another server may know.
    if (!(await driver.within(demandWaitMs, isKnown).catch(isKnown)))
      throw new TidemarkError('behind', 'the server still reads what its input held', {
        incarnation: applied.applied().incarnation,
        n: applied.applied().n,
      });
  }
  return applied.applied().needsIdentities;
};

/**
 * Checks who makes a call, and gives its message. Without the tenant's demand for identities everybody is who it
 * says. Throws `unauthenticated`, `revoked`, `denied`.
 */
export const authenticate = async (
  deps: AuthenticateDeps,
  caller: Caller,
  endpoint: Endpoint,
  bytes: Uint8Array,
): Promise<Uint8Array> => {
  if (!(await isDemanded(deps))) return openSignedCall(bytes).body;
  const { body, proof } = openProof(deps, caller, bytes);
  let enrolment = await readEnrolment(deps, caller.replica);
  if (enrolment === undefined) {
    // Another server enrolled it a moment ago, perhaps.
    await deps.settle();
    enrolment = await readEnrolment(deps, caller.replica);
  }
  if (enrolment === undefined)
    throw unauthenticated(deps, caller, 'unknown-replica', 'the replica is not enrolled');
  const { publicKey, user, device, isRevoked } = enrolment;
  if (!isProven(deps, caller, endpoint, body, { proof, publicKey }))
    throw unauthenticated(deps, caller, 'signature', 'the signature does not verify');
  if (isRevoked || enrolment.isDeviceRevoked)
    throw new TidemarkError('revoked', 'the replica was revoked', { replica: caller.replica });
  if (user !== caller.user)
    throw new TidemarkError('denied', 'the replica was enrolled for another user', {
      replica: caller.replica,
    });
  if (caller.device !== undefined && caller.device !== device)
    throw new TidemarkError('denied', 'the replica was enrolled on another device', {
      replica: caller.replica,
      device: caller.device,
    });
  return body;
};
