import { concatBytes, fromHex, toHex, utf8Decode, utf8Encode } from './bytes.js';
import { isReplicaId, type ReplicaId } from './ids.js';
import { left, right, type Result } from './result.js';

/**
 * Contiguous run of a replica's stored transactions with the chain heads at both ends.
 *
 * `from` is the index of the first operation, `to` of the last. `offsetMs` is the server's clock minus
 * the replica's, as measured by the replica. `signature` (base64) is empty where the tenant
 * does not demand identities.
 */
export interface Envelope {
  readonly replica: ReplicaId;
  readonly epoch: number;
  readonly user: string;
  readonly from: number;
  readonly to: number;
  readonly offsetMs: number;
  readonly headBefore: Uint8Array;
  readonly headAfter: Uint8Array;
  readonly signature: string;
  /** Stored bytes of each transaction, in order. */
  readonly transactions: readonly Uint8Array[];
}

/** Newest format of envelopes. */
export const envelopeFormat = 1;
/** Maximum bytes of an envelope: it fits NATS' default message limit of 1 MiB. */
export const envelopeBytesMax = 960 * 1024;
const headerBytesMax = 4_096;

/** Encodes an envelope: format byte, header length, JSON header, then length-prefixed transactions. */
export const encodeEnvelope = (envelope: Envelope): Uint8Array => {
  const header = utf8Encode(
    JSON.stringify([
      envelope.replica,
      envelope.epoch,
      envelope.user,
      envelope.from,
      envelope.to,
      envelope.offsetMs,
      toHex(envelope.headBefore),
      toHex(envelope.headAfter),
      envelope.signature,
    ]),
  );
  const prefix = new Uint8Array(5);
  prefix[0] = envelopeFormat;
  new DataView(prefix.buffer).setUint32(1, header.length);
  const parts: Uint8Array[] = [prefix, header];
  for (const transaction of envelope.transactions) {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, transaction.length);
    parts.push(length, transaction);
  }
  return concatBytes(parts);
};

/** Reason why bytes are not an envelope. */
export type EnvelopeProblem = 'newer-format' | 'malformed';

const isIndex = (json: unknown): json is number =>
  typeof json === 'number' && Number.isSafeInteger(json) && json >= 0;

const decodeHeader = (bytes: Uint8Array): Omit<Envelope, 'transactions'> | undefined => {
  let json: unknown;
  try {
    json = JSON.parse(utf8Decode(bytes));
  } catch {
    return undefined;
  }
  if (!Array.isArray(json) || json.length < 9) return undefined;
  const [replica, epoch, user, from, to, offsetMs, before, after, signature] =
    json as readonly unknown[];
  if (typeof replica !== 'string' || !isReplicaId(replica)) return undefined;
  if (!isIndex(epoch) || !isIndex(from) || !isIndex(to) || from < 1 || to < from) return undefined;
  if (typeof user !== 'string' || user.length > 255 || typeof signature !== 'string')
    return undefined;
  if (typeof offsetMs !== 'number' || !Number.isSafeInteger(offsetMs)) return undefined;
  const headBefore = typeof before === 'string' ? fromHex(before) : undefined;
  const headAfter = typeof after === 'string' ? fromHex(after) : undefined;
  if (headBefore?.length !== 32 || headAfter?.length !== 32) return undefined;
  return { replica, epoch, user, from, to, offsetMs, headBefore, headAfter, signature };
};

/** Decodes an envelope without looking into its transactions. A pure function of the bytes. */
export const decodeEnvelope = (bytes: Uint8Array): Result<EnvelopeProblem, Envelope> => {
  if (bytes.length < 5 || bytes.length > envelopeBytesMax) return left('malformed');
  if ((bytes[0] as number) > envelopeFormat) return left('newer-format');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerLength = view.getUint32(1);
  if (
    bytes[0] !== envelopeFormat ||
    headerLength > headerBytesMax ||
    5 + headerLength > bytes.length
  )
    return left('malformed');
  const header = decodeHeader(bytes.subarray(5, 5 + headerLength));
  if (header === undefined) return left('malformed');
  const transactions: Uint8Array[] = [];
  let at = 5 + headerLength;
  while (at < bytes.length) {
    if (at + 4 > bytes.length) return left('malformed');
    const length = view.getUint32(at);
    if (at + 4 + length > bytes.length) return left('malformed');
    transactions.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return transactions.length === 0 ? left('malformed') : right({ ...header, transactions });
};
