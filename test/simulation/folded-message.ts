import { decodeInputEntry, type InputEntry } from '@tidemark/merger';
import {
  decodeEnvelope,
  decodeTransaction,
  equalBytes,
  openTransaction,
  toHex,
  type Transaction,
} from '@tidemark/model';
import type { InputMessage } from '@tidemark/ports';
import { crypto } from '../convergence/memory-parts.js';
import { transactionName } from './promises.js';

/** Name of an entry of the input: of equal bytes, equal. */
export const entryName = (bytes: Uint8Array): string => toHex(crypto.sha256(bytes));

/** What the stored bytes of a transaction hold that was folded: nothing where they are not whole. */
export interface FoldedTransaction {
  readonly name: string;
  readonly opCount: number;
  readonly ops: Transaction['ops'];
}

/** An envelope that was folded. */
export interface FoldedEnvelope {
  readonly replica: string;
  readonly from: number;
  readonly transactions: readonly FoldedTransaction[];
}

const foldedTransaction = (bytes: Uint8Array): FoldedTransaction => {
  const name = transactionName(bytes);
  const opened = openTransaction(bytes, crypto.sha256);
  if (opened._tag === 'Left' || opened.right.payload === undefined)
    return { name, opCount: 0, ops: [] };
  const transaction = decodeTransaction(opened.right.payload);
  if (transaction._tag === 'Left') return { name, opCount: 0, ops: [] };
  return { name, opCount: opened.right.opCount, ops: transaction.right.ops };
};

/** A message that a fold read. It is decoded once: every server reads it, and each check at rest looks at it again. */
export class FoldedMessage {
  readonly message: InputMessage;
  readonly name: string;
  /** Undefined for what is no entry. */
  readonly entry: InputEntry | undefined;
  /** Undefined where there is none. */
  readonly envelope: FoldedEnvelope | undefined;

  constructor(message: InputMessage) {
    this.message = message;
    this.name = entryName(message.bytes);
    const entry = decodeInputEntry(message.bytes);
    this.entry = entry._tag === 'Right' ? entry.right : undefined;
    const envelope = this.entry?.kind === 'envelope' ? decodeEnvelope(this.entry.envelope) : null;
    if (envelope?._tag !== 'Right') return;
    const { replica, from, transactions } = envelope.right;
    this.envelope = { replica, from, transactions: transactions.map(foldedTransaction) };
  }

  /** Whether the message was only read again. */
  isSame({ bytes, atMs }: InputMessage): boolean {
    return this.message.atMs === atMs && equalBytes(this.message.bytes, bytes);
  }
}
