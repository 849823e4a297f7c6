import { decodeInputEntry, type InputEntry } from '@tidemark/merger';
import {
  decodeEnvelope,
  decodeTransaction,
  openTransaction,
  type Result,
  type Transaction,
} from '@tidemark/model';
import { crypto } from './memory-parts.js';

/** Envelope of the input, read: its transactions, each with the index of its first operation. */
export interface ReadEnvelope {
  readonly kind: 'envelope';
  readonly replica: string;
  readonly offsetMs: number;
  readonly transactions: readonly (Transaction & { readonly first: number })[];
}

/** Entry of the input, read down to its operations. */
export type ReadEntry = Exclude<InputEntry, { readonly kind: 'envelope' }> | ReadEnvelope;

/** What the histories hold can be read, all of it. */
export const readable = <A>(result: Result<unknown, A>): A => {
  if (result._tag === 'Left') throw new Error('the histories hold nothing that cannot be read');
  return result.right;
};

const readEnvelope = (bytes: Uint8Array): ReadEnvelope => {
  const { replica, offsetMs, from, transactions } = readable(decodeEnvelope(bytes));
  let next = from;
  const read = transactions.map((stored) => {
    const { payload } = readable(openTransaction(stored, crypto.sha256));
    const transaction = readable(decodeTransaction(payload ?? new Uint8Array()));
    const first = next;
    next += transaction.ops.length;
    return { ...transaction, first };
  });
  return { kind: 'envelope', replica, offsetMs, transactions: read };
};

/** Reads a message of the input: only the form of its bytes, no rule. */
export const readEntry = (bytes: Uint8Array): ReadEntry => {
  const entry = readable(decodeInputEntry(bytes));
  return entry.kind === 'envelope' ? readEnvelope(entry.envelope) : entry;
};
