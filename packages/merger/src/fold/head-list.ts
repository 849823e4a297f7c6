import type { LogPart } from '@tidemark/merge';
import { toHex } from '@tidemark/model';
import type { ServerStore } from '@tidemark/ports';
import { logParts, partOfIndex, type ReplicaState } from './replica-state.js';
import { damagedForm } from './stored-form.js';

/** Chain head after a transaction; `index` is that of its last operation. */
export interface LogHead {
  readonly index: number;
  readonly head: Uint8Array;
}

const headBytes = 38;

/** Key in space `heads` of the envelope part that ends at `lastIndex`. */
export const headKey = (replica: string, epoch: number, lastIndex: number): string =>
  `${replica}/${String(epoch).padStart(10, '0')}/${String(lastIndex).padStart(15, '0')}`;

/** Encodes the heads of the transactions of one envelope, in order: 6 bytes index, 32 bytes head each. */
export const encodeHeads = (heads: readonly LogHead[]): Uint8Array => {
  const out = new Uint8Array(1 + heads.length * headBytes);
  const view = new DataView(out.buffer);
  out[0] = 1;
  for (let i = 0; i < heads.length; i += 1) {
    const { index, head } = heads[i] as LogHead;
    view.setUint16(1 + headBytes * i, Math.floor(index / 2 ** 32));
    view.setUint32(3 + headBytes * i, index % 2 ** 32);
    out.set(head, 7 + headBytes * i);
  }
  return out;
};

/** Decodes a value of space `heads`. Throws TidemarkError `storage-damaged` on other bytes. */
export const decodeHeads = (bytes: Uint8Array): readonly LogHead[] => {
  if (bytes[0] !== 1 || (bytes.length - 1) % headBytes !== 0) throw damagedForm('a list of heads');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const heads: LogHead[] = [];
  for (let at = 1; at < bytes.length; at += headBytes)
    heads.push({
      index: view.getUint16(at) * 2 ** 32 + view.getUint32(at + 2),
      head: bytes.subarray(at + 6, at + headBytes),
    });
  return heads;
};

/**
 * Head (hexadecimal) of a replica's log after the transaction that ends at `index`, as merged: through
 * its epochs, and through the replicas it was cloned from. Undefined: no merged transaction ends there.
 */
export const headAt = async (
  store: Pick<ServerStore, 'scanEntries'>,
  state: ReplicaState,
  index: number,
): Promise<string | undefined> => {
  if (index === 0) return toHex(new Uint8Array(32));
  if (index > state.mergedTo) return undefined;
  if (index === state.mergedTo) return state.head;
  const merged = await headInParts(store, logParts(state), index);
  return merged ?? headOfGrant(state, index, state.epoch);
};

/**
 * Head at which an epoch began that was granted above a gap: no merged transaction ends there, and a copy of the
 * log from that time can name no other place. `upTo`: the last epoch that counts.
 */
const headOfGrant = (
  { grants }: Pick<ReplicaState, 'grants'>,
  index: number,
  upTo: number,
): string | undefined => {
  let head: string | undefined;
  for (const grant of grants) {
    if (grant.epoch > upTo || grant.from > index) continue;
    head = grant.from === index ? grant.head : undefined;
  }
  return head;
};

/**
 * Head at `index` as the log stood under `epoch`: also what a later grant, asked for by another copy of
 * the replica, has cut off. A copy whose epoch was ended finds here what was merged of its own log.
 */
export const headUnder = async (
  store: Pick<ServerStore, 'scanEntries'>,
  state: ReplicaState,
  index: number,
  epoch: number,
): Promise<string | undefined> => {
  const cutOff = state.grants.some((grant) => grant.epoch > epoch && grant.from < index);
  if (!cutOff) return headAt(store, state, index);
  const merged = await headInParts(store, logParts(state, epoch), index);
  return merged ?? headOfGrant(state, index, epoch);
};

const headInParts = async (
  store: Pick<ServerStore, 'scanEntries'>,
  parts: readonly LogPart[],
  index: number,
): Promise<string | undefined> => {
  const part = partOfIndex(parts, index);
  if (part === undefined) return undefined;
  const found = await store.scanEntries('heads', {
    gt: headKey(part.replica, part.epoch, index - 1),
    lt: `${headKey(part.replica, part.epoch, 10 ** 15 - 1)}~`,
    limit: 1,
  });
  const value = found[0]?.value;
  const head = value && decodeHeads(value).find((one) => one.index === index);
  return head === undefined ? undefined : toHex(head.head);
};
