import { isDeepJson, utf8Decode, utf8Encode, type ParkedRange } from '@tidemark/model';
import { damagedForm, storedForm } from './stored-form.js';

/**
 * Transaction (or the part of one) that waits under a root: a value of space `parked`.
 *
 * `indexes` are those of its operations, in order. `poison` has `payload` hold the stored bytes that could
 * not be decoded; otherwise it is the payload, whole as it came or encoded anew for a part.
 */
export interface ParkedTransaction {
  readonly root: string;
  readonly author: 'device' | 'backend';
  readonly replica: string;
  readonly epoch: number;
  readonly user: string;
  readonly indexes: readonly number[];
  /** Version of the customization under which it was written. */
  readonly schemaVersion: number;
  readonly receivedAt: number;
  readonly offsetMs: number;
  readonly foreignModifiedOn: number | null;
  readonly poison: boolean;
  readonly payload: Uint8Array;
}

/** Most transactions that wait under one root; a later one becomes a root of its own. */
export const dependentsMax = 10_000;

/**
 * Most ranges that the row of a root lists: every dependent rewrites the row, and the feed keeps the old
 * one. A dependent that needs one more becomes a root of its own.
 */
export const rangesMax = 512;

const index = (value: number): string => String(value).padStart(15, '0');
const epochText = (value: number): string => String(value).padStart(10, '0');

/** Key in space `parked` of the transaction whose first waiting operation is at `first`. */
export const parkedTransactionKey = (replica: string, epoch: number, first: number): string =>
  `t/${replica}/${epochText(epoch)}/${index(first)}`;

/** Key in space `parked` that leads from an operation to its root. */
export const parkedOperationKey = (replica: string, epoch: number, at: number): string =>
  `o/${replica}/${epochText(epoch)}/${index(at)}`;

/** Key in space `parked` that leads from a record that waiting creates make to their roots. */
export const parkedCreateKey = (replica: string, table: number, id: string): string =>
  `c/${replica}/${table}/${id}`;

/** Key in space `parked` of the list of transaction keys under a root, in log order. */
export const parkedMembersKey = (root: string): string => `r/${root}`;

/** Encodes a parked transaction: header length (4), JSON header, payload. */
export const encodeParkedTransaction = (parked: ParkedTransaction): Uint8Array => {
  const { payload, ...rest } = parked;
  const header = utf8Encode(JSON.stringify(rest));
  const out = new Uint8Array(5 + header.length + payload.length);
  out[0] = 1;
  new DataView(out.buffer).setUint32(1, header.length);
  out.set(header, 5);
  out.set(payload, 5 + header.length);
  return out;
};

/** Decodes a parked transaction that this engine wrote. Throws TidemarkError `storage-damaged` on other bytes. */
export const decodeParkedTransaction = (bytes: Uint8Array): ParkedTransaction =>
  storedForm('a parked transaction', () => readParkedTransaction(bytes));

const readParkedTransaction = (bytes: Uint8Array): ParkedTransaction => {
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1);
  const json = bytes.subarray(5, 5 + length);
  // What is read here is printed again, which overflows the stack where it is nested thousands deep.
  if (isDeepJson(json)) throw damagedForm('a parked transaction');
  const header = JSON.parse(utf8Decode(json)) as Omit<ParkedTransaction, 'payload'>;
  if (typeof header !== 'object' || Array.isArray(header))
    throw damagedForm('a parked transaction');
  return { ...header, payload: bytes.subarray(5 + length) };
};

/** Contiguous runs of operation indexes, in order. */
export const rangesOf = (epoch: number, indexes: readonly number[]): ParkedRange[] => {
  const ranges: { epoch: number; from: number; to: number }[] = [];
  for (const at of indexes) {
    const last = ranges[ranges.length - 1];
    if (last !== undefined && last.to + 1 === at) last.to = at;
    else ranges.push({ epoch, from: at, to: at });
  }
  return ranges;
};

/** Adds the ranges of a dependent; neighbours of one log join, except with the first, which is the root's own. */
export const addRanges = (
  ranges: readonly ParkedRange[],
  more: readonly ParkedRange[],
): readonly ParkedRange[] => {
  const out = [...ranges];
  for (const range of more) {
    const last = out[out.length - 1];
    const isNext = last?.epoch === range.epoch && last.to + 1 === range.from;
    if (out.length > 1 && isNext && last.replica === range.replica)
      out[out.length - 1] = { ...last, to: range.to };
    else out.push(range);
  }
  return out;
};
