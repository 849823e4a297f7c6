import {
  decodeTransaction,
  equalBytes,
  nextHead,
  openTransaction,
  type Envelope,
  type Hash,
  type Transaction,
} from '@tidemark/model';

/** Transaction of an envelope that verifies. */
export interface OpenedTransaction {
  /** Index of its first operation. */
  readonly first: number;
  readonly opCount: number;
  /** Stored bytes, their payload, and the chain head after them. */
  readonly stored: Uint8Array;
  readonly payload: Uint8Array;
  readonly head: Uint8Array;
  /** Undefined when the payload cannot be decoded; `problem` says what is wrong. */
  readonly transaction: Transaction | undefined;
  readonly problem: string;
}

/** Envelope whose chain leads from `headBefore` to `headAfter`. */
export interface OpenedEnvelope {
  readonly envelope: Envelope;
  /** Chain head before the first transaction above `mergedTo`; undefined when none ends at `mergedTo`. */
  readonly headAtMerged: Uint8Array | undefined;
  /** Transactions above `mergedTo`. */
  readonly transactions: readonly OpenedTransaction[];
}

const empty = new Uint8Array(0);

const decode = (payload: Uint8Array | undefined, opCount: number): Transaction | string => {
  if (payload === undefined) return 'the payload was erased';
  const decoded = decodeTransaction(payload);
  if (decoded._tag === 'Left') return decoded.left;
  return decoded.right.ops.length === opCount ? decoded.right : 'operation count';
};

/**
 * Verifies the chain of an envelope and decodes its transactions above `mergedTo`. A pure function of the
 * bytes; undefined when the chain does not lead to `headAfter` or the indexes do not add up.
 */
export const openEnvelope = (
  envelope: Envelope,
  mergedTo: number,
  hash: Hash,
): OpenedEnvelope | undefined => {
  let head: Uint8Array = envelope.headBefore;
  let first = envelope.from;
  let headAtMerged: Uint8Array | undefined = first - 1 === mergedTo ? head : undefined;
  const transactions: OpenedTransaction[] = [];
  for (const stored of envelope.transactions) {
    const opened = openTransaction(stored, hash);
    if (opened._tag === 'Left') return undefined;
    const { opCount, payload } = opened.right;
    head = nextHead(head, opened.right, hash);
    const last = first + opCount - 1;
    if (last === mergedTo) headAtMerged = head;
    if (last > mergedTo) {
      const decoded = decode(payload, opCount);
      const readable = typeof decoded !== 'string';
      transactions.push({
        first,
        opCount,
        stored,
        payload: payload ?? empty,
        head,
        transaction: readable ? decoded : undefined,
        problem: readable ? '' : decoded,
      });
    }
    first = last + 1;
  }
  if (first - 1 !== envelope.to || !equalBytes(head, envelope.headAfter)) return undefined;
  return { envelope, headAtMerged, transactions };
};
