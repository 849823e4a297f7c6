import { concatBytes, type Hash } from './bytes.js';
import { transactionBytesMax, transactionOpsMax } from './operation.js';
import { left, right, type Result } from './result.js';

/**
 * Stored form of a transaction, all integers big-endian:
 *
 * | bytes | meaning |
 * |---|---|
 * | 1 | format, 1 |
 * | 1 | flags; 1 = erased |
 * | 2 | number of operations |
 * | 4 | length of the payload |
 * | 16 + n | salt and payload; or 32 bytes H(salt, payload) when erased |
 *
 * Values sit in the payload only: erasing it keeps the chain verifiable.
 */
export interface StoredTransaction {
  readonly opCount: number;
  /** Undefined when the payload was erased. */
  readonly payload: Uint8Array | undefined;
  readonly header: Uint8Array;
  /** H(salt, payload). */
  readonly digest: Uint8Array;
}

/** Newest format of stored transactions. */
export const transactionFormat = 1;
const headerBytes = 8;
/** Length of the random salt of a transaction in bytes. */
export const saltBytes = 16;
/** Head of an empty log: 32 zero bytes. */
export const emptyHead: Uint8Array = new Uint8Array(32);

/** Builds the stored bytes of a transaction from its payload. */
export const storeTransaction = (
  opCount: number,
  salt: Uint8Array,
  payload: Uint8Array,
): Uint8Array => {
  const out = new Uint8Array(headerBytes + saltBytes + payload.length);
  const view = new DataView(out.buffer);
  view.setUint8(0, transactionFormat);
  view.setUint8(1, 0);
  view.setUint16(2, opCount);
  view.setUint32(4, payload.length);
  out.set(salt, headerBytes);
  out.set(payload, headerBytes + saltBytes);
  return out;
};

/** Reason why stored bytes are not a transaction. */
export type StoredTransactionProblem = 'newer-format' | 'malformed';

/** Takes stored bytes apart. A pure function of the bytes; claims about lengths are checked first. */
export const openTransaction = (
  bytes: Uint8Array,
  hash: Hash,
): Result<StoredTransactionProblem, StoredTransaction> => {
  if (bytes.length < headerBytes + saltBytes) return left('malformed');
  const format = bytes[0] as number;
  if (format > transactionFormat) return left('newer-format');
  const flags = bytes[1] as number;
  const opCount = ((bytes[2] as number) << 8) | (bytes[3] as number);
  const payloadLength =
    (((bytes[4] as number) << 24) |
      ((bytes[5] as number) << 16) |
      ((bytes[6] as number) << 8) |
      (bytes[7] as number)) >>>
    0;
  const body = bytes.subarray(headerBytes);
  const header = bytes.slice(0, headerBytes);
  if (format !== transactionFormat || opCount < 1 || opCount > transactionOpsMax || flags > 1)
    return left('malformed');
  if (flags === 1) {
    if (body.length !== 32) return left('malformed');
    header[1] = 0;
    return right({ opCount, payload: undefined, header, digest: body.slice() });
  }
  if (body.length !== saltBytes + payloadLength || bytes.length > transactionBytesMax)
    return left('malformed');
  return right({ opCount, payload: body.subarray(saltBytes), header, digest: hash(body) });
};

/** Head after a transaction: H(head before, header, H(salt, payload)). */
export const nextHead = (head: Uint8Array, stored: StoredTransaction, hash: Hash): Uint8Array => {
  const { header, digest } = stored;
  const { length } = head;
  const bytes = new Uint8Array(length + header.length + digest.length);
  bytes.set(head);
  bytes.set(header, length);
  bytes.set(digest, length + header.length);
  return hash(bytes);
};

/** Drops values of a stored transaction: payload and salt go, the chain still verifies. */
export const eraseTransaction = (stored: StoredTransaction): Uint8Array => {
  const header = stored.header.slice();
  header[1] = 1;
  return concatBytes([header, stored.digest]);
};
