import {
  decodeEnvelope,
  encodeEnvelope,
  encodeTransaction,
  fromBase64,
  nextHead,
  openTransaction,
  saltBytes,
  storeTransaction,
  toBase64,
  type Envelope,
} from '@tidemark/model';
import type { Caller } from '@tidemark/ports';
import { envelopeBytes } from '@tidemark/protocol';
import { sketchTransaction } from '@tidemark/testkit';
import type { SeededRandom } from '../convergence/seeded-random.js';
import { fieldIds } from '../convergence/tables.js';
import { tenant, type DeviceActor } from './device-actor.js';
import { crypto } from './sim-crypto.js';
import { replicaKey, revokedReplica, revokedUser } from './sim-identity.js';
import type { SimWorld } from './sim-world.js';

/** Text of whatever a forged transaction would write: no server may ever hold it. */
export const forgedText = 'FORGED-51c0';
const otherTenant = 'other';

/** How an envelope is forged where signatures are needed. */
export const forgeryKinds = [
  'signed by another',
  'signed by a stranger',
  'signed by the revoked',
  'signature of another tenant',
  'signature with a bit flipped',
  'signature cut off',
  'signature of other facts',
  'chain with a bit flipped',
  'under another name',
  'of another tenant',
  'sent again',
] as const;
export type ForgeryKind = (typeof forgeryKinds)[number];

/** An envelope that is not what it claims; `reason` null: it is true, and comes again. */
export interface Forgery {
  readonly kind: ForgeryKind;
  readonly caller: Caller;
  readonly envelope: Uint8Array;
  readonly reason: string | null;
}

const sign = (secret: Uint8Array, signed: Envelope, inTenant = tenant): Envelope => ({
  ...signed,
  signature: toBase64(crypto.ed25519.sign(secret, envelopeBytes(inTenant, signed))),
});

const callerOf = ({ replica, user }: Pick<Envelope, 'replica' | 'user'>): Caller => ({
  tenant,
  replica,
  user,
});

/** The next transaction of a log, which its owner did not write: all but the signature is in order. */
const nextOf = (
  who: Pick<Envelope, 'replica' | 'user' | 'epoch'>,
  end: { readonly lastIndex: number; readonly head: Uint8Array },
  random: SeededRandom,
): Envelope => {
  const set = [{ field: fieldIds.a, before: null, after: forgedText }];
  const record = `forged-${random.below(1_000_000)}`;
  const forged = sketchTransaction([{ table: 2, record, kind: 'create', set }]);
  const stored = storeTransaction(1, random.bytes(saltBytes), encodeTransaction(forged));
  const opened = openTransaction(stored, crypto.sha256);
  if (opened._tag === 'Left') throw new Error('a stored transaction opens');
  const index = end.lastIndex + 1;
  return {
    replica: who.replica,
    user: who.user,
    epoch: who.epoch,
    from: index,
    to: index,
    offsetMs: 0,
    headBefore: end.head,
    headAfter: nextHead(end.head, opened.right, crypto.sha256),
    signature: '',
    transactions: [stored],
  };
};

const withFlippedBit = (bytes: Uint8Array, random: SeededRandom): Uint8Array => {
  const flipped = bytes.slice();
  const at = random.below(flipped.length);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
  return flipped;
};

/** Whether a true envelope, sent once more, means what it meant: its epoch goes on. */
const isOfNow = ({ replica, epoch }: Envelope, devices: readonly DeviceActor[]): boolean =>
  devices.some(({ local }) => {
    const meta = local?.meta();
    return meta?.replica === replica && meta.epoch === epoch && !meta.awaitsGrant;
  });

const ofTrueEnvelope = (
  world: SimWorld,
  random: SeededRandom,
  kind: ForgeryKind,
): Forgery | null => {
  if (world.published.length === 0) return null;
  const bytes = random.pick(world.published);
  const decoded = decodeEnvelope(bytes);
  if (decoded._tag === 'Left') throw new Error('devices publish envelopes');
  const envelope = decoded.right;
  const caller = callerOf(envelope);
  const forged = (changed: Envelope, reason: string): Forgery => ({
    ...{ kind, caller, reason },
    envelope: encodeEnvelope(changed),
  });
  switch (kind) {
    case 'signature with a bit flipped': {
      const signature = fromBase64(envelope.signature) ?? new Uint8Array(64);
      const flipped = toBase64(withFlippedBit(signature, random));
      return forged({ ...envelope, signature: flipped }, 'signature');
    }
    case 'signature cut off':
      return forged({ ...envelope, signature: '' }, 'unsigned');
    case 'signature of other facts':
      return forged({ ...envelope, offsetMs: envelope.offsetMs + 1 }, 'signature');
    case 'chain with a bit flipped': {
      const headAfter = withFlippedBit(envelope.headAfter, random);
      return forged({ ...envelope, headAfter }, 'chain');
    }
    case 'under another name': {
      const own = { tenant, replica: revokedReplica, user: revokedUser };
      return { kind, caller: own, envelope: bytes, reason: 'identity' };
    }
    case 'of another tenant':
      return {
        kind,
        caller: { ...caller, tenant: otherTenant },
        envelope: bytes,
        reason: 'tenant',
      };
    default:
      // The oracle knows nothing of epochs: what it sees again is of the one in force.
      if (world.inexact.size === 0 && !isOfNow(envelope, world.devices)) return null;
      return { kind, caller, envelope: bytes, reason: null };
  }
};

/** Forges an envelope; null when there is nothing to forge yet. */
export const forge = (world: SimWorld, random: SeededRandom): Forgery | null => {
  const kind = random.pick(forgeryKinds);
  const victim = random.pick(world.devices);
  const meta = victim.local?.meta();
  const other = random.pick(world.devices);
  switch (kind) {
    case 'signed by the revoked': {
      const who = { replica: revokedReplica, user: revokedUser, epoch: 1 };
      const next = nextOf(who, { lastIndex: 0, head: new Uint8Array(32) }, random);
      const envelope = sign(replicaKey(revokedReplica, revokedReplica), next);
      const caller = callerOf(next);
      return { kind, caller, envelope: encodeEnvelope(envelope), reason: 'revoked' };
    }
    case 'signed by a stranger': {
      const who = { replica: 'stranger-1', user: 'mallory', epoch: 1 };
      const next = nextOf(who, { lastIndex: 0, head: new Uint8Array(32) }, random);
      const envelope = sign(replicaKey('stranger', 'stranger-1'), next);
      const caller = callerOf(next);
      return { kind, caller, envelope: encodeEnvelope(envelope), reason: 'unknown-replica' };
    }
    case 'signed by another':
    case 'signature of another tenant': {
      if (victim.local === null || meta === undefined || meta.epoch === 0) return null;
      const { replica, epoch } = meta;
      const next = nextOf({ replica, user: victim.user, epoch }, victim.local.logEnd(), random);
      // The victim's own hand, but for another tenant; or the hand of who is enrolled as well.
      const isOwnHand = kind === 'signature of another tenant';
      const isSame = other.installation === victim.installation;
      const secret = isOwnHand
        ? replicaKey(victim.installation, replica)
        : replicaKey(
            isSame ? 'mallory' : other.installation,
            other.local?.meta().replica ?? replica,
          );
      const envelope = sign(secret, next, isOwnHand ? otherTenant : tenant);
      const caller = callerOf(next);
      return { kind, caller, envelope: encodeEnvelope(envelope), reason: 'signature' };
    }
    default:
      return ofTrueEnvelope(world, random, kind);
  }
};
