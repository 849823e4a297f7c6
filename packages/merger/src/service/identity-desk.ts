import {
  devicesTable,
  isDeviceId,
  isReplicaId,
  replicasTable,
  TidemarkError,
  toHex,
  utf8Encode,
} from '@tidemark/model';
import type { Clock, Crypto, Entropy } from '@tidemark/ports';
import { enrolmentOf } from '../fold/decide-identity.js';
import type { FoldState } from '../fold/fold-state.js';
import type { InputEntry } from '../fold/input-entry.js';
import { mergeRecord } from '../fold/stored-record.js';
import type { AppliedStore } from './applied-store.js';
import { takeCensus, type IdentityCensus } from './identity-census.js';
import { oneTimePrefix } from './enroll.js';
import { readEnrolment, systemRow } from './authenticate.js';

/** Random bytes of a one-time token. */
const tokenBytes = 32;
/** Time for which a one-time token is good unless said otherwise, ms. */
export const tokenMsDefault = 24 * 3_600_000;
/** Longest time for which a one-time token may be good, ms. */
export const tokenMsMax = 30 * 24 * 3_600_000;
/** Enrolled replicas that one call lists at most. */
export const enrolmentsListMax = 1_000;

const userCharactersMax = 255;

/** An enrolled replica as operators see it; no secrets are known here. */
export interface EnrolledReplica {
  readonly replica: string;
  readonly user: string;
  readonly device: string;
  readonly publicKey: string;
  readonly state: 'live' | 'revoked';
  readonly origin: string | null;
}

/** Who may do what in a tenant, for its operators. */
export interface IdentityDesk {
  /** True when envelopes and calls need signatures. */
  readonly required: () => boolean;
  /** Demands signatures from here on; there is no way back. */
  readonly require: (by: string) => Promise<void>;
  /** Makes a token that enrols one replica of a user on a device, once. It is shown here and nowhere else. */
  readonly createToken: (wanted: {
    readonly user: string;
    readonly device: string;
    readonly ttlMs?: number;
    readonly by: string;
  }) => Promise<{ readonly token: string; readonly expiresOn: number }>;
  /** Ends the access of a replica, or of a device with all its replicas. Rejects with `invalid-id`. */
  readonly revoke: (wanted: {
    readonly of: 'replica' | 'device';
    readonly id: string;
    readonly by: string;
  }) => Promise<void>;
  /** How enrolment stands: counts, and the first names of those that need a look. */
  readonly census: () => Promise<IdentityCensus>;
  /** Enrolled replicas by id, at most 1,000 after one. */
  readonly list: (after?: string) => Promise<readonly EnrolledReplica[]>;
  /** Public keys (hexadecimal) that sign receipts: devices may be told before they first call. */
  readonly receiptKeys: readonly string[];
}

/** What the desk works with. */
export interface IdentityDeskDeps {
  readonly applied: AppliedStore;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly submit: (entry: InputEntry) => Promise<FoldState>;
  readonly receiptKeys: readonly string[];
}

const requireText = (name: string, value: string): void => {
  if (value === '' || value.length > userCharactersMax)
    throw new TidemarkError('invalid-option', `${name} is a text of 1 to 255 characters`, {
      option: name,
    });
};

/** Builds the desk. */
export const createIdentityDesk = (deps: IdentityDeskDeps): IdentityDesk => {
  const { applied, submit } = deps;
  return {
    required: () => applied.applied().needsIdentities,
    require: async (by) => {
      if (!applied.applied().needsIdentities)
        await submit({ kind: 'policy', by, identities: 'required' });
    },
    createToken: async ({ user, device, ttlMs = tokenMsDefault, by }) => {
      requireText('user', user);
      if (!isDeviceId(device))
        throw new TidemarkError('invalid-id', 'a device is named by 1 to 64 of [A-Za-z0-9_-]');
      if (!Number.isSafeInteger(ttlMs) || ttlMs < 1 || ttlMs > tokenMsMax)
        throw new TidemarkError('invalid-option', 'a token is good for at most 30 days', {
          option: 'ttlMs',
        });
      const random = toHex(deps.entropy.bytes(tokenBytes));
      const token = `${oneTimePrefix}${random}`;
      const hash = toHex(deps.crypto.sha256(utf8Encode(token)));
      const expiresOn = deps.clock.nowMs() + ttlMs;
      await submit({ kind: 'token', by, hash, user, device, expiresOn });
      return { token, expiresOn };
    },
    revoke: async ({ of, id, by }) => {
      if (!isReplicaId(id) || (of === 'device' && !isDeviceId(id)))
        throw new TidemarkError('invalid-id', `there is no such ${of}`, { id });
      if (of === 'replica' && (await readEnrolment(deps, id)) === undefined)
        throw new TidemarkError('invalid-id', 'no replica of this id is enrolled', { id });
      await submit({ kind: 'revoke', by, of, id });
    },
    census: () => takeCensus(applied, deps.clock.nowMs()),
    list: async (after) => {
      const { records } = await applied.store.scanRecords(replicasTable, {
        maxBytes: Number.MAX_SAFE_INTEGER,
        maxRecords: enrolmentsListMax,
        ...(after === undefined ? {} : { after }),
      });
      const devices = new Map<string, boolean>();
      const list: EnrolledReplica[] = [];
      for (const stored of records) {
        const one = enrolmentOf(stored.id, mergeRecord(stored).row.fields);
        const { replica, user, device, publicKey, origin } = one;
        if (!devices.has(device))
          devices.set(device, (await systemRow(deps, devicesTable, device))?.[2] === 'revoked');
        const isRevoked = one.isRevoked || devices.get(device) === true;
        list.push({
          replica,
          user,
          device,
          publicKey,
          origin,
          state: isRevoked ? 'revoked' : 'live',
        });
      }
      return list;
    },
    receiptKeys: deps.receiptKeys,
  };
};
