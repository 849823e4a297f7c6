import { decodeEnvelope, type Envelope } from '@tidemark/model';
import type { InputMessage } from '@tidemark/ports';
import { backendAuthor, writeAuthor } from './decide-entry.js';
import { decodeInputEntry, type InputEntry } from './input-entry.js';

/** Message of the input, decoded as far as that needs no state. */
export interface DecodedMessage {
  readonly message: InputMessage;
  /** Undefined when the bytes are no entry. */
  readonly entry: InputEntry | undefined;
  readonly envelope: Envelope | undefined;
  readonly problem: string;
  /** Operations that it may bring, for the bounds of a window. */
  readonly operations: number;
}

/** Decodes a message; undefined when a newer version wrote it. */
export const decodeMessageEntry = (message: InputMessage): DecodedMessage | undefined => {
  const decoded = decodeInputEntry(message.bytes);
  const base = { message, entry: undefined, envelope: undefined, operations: 1 };
  if (decoded._tag === 'Left') {
    if (decoded.left === 'newer-format') return undefined;
    return { ...base, problem: decoded.left };
  }
  const entry = decoded.right;
  if (entry.kind === 'write') return { ...base, entry, problem: '', operations: entry.ops.length };
  if (entry.kind === 'foreign')
    return { ...base, entry, problem: '', operations: entry.rows.length };
  if (entry.kind !== 'envelope') return { ...base, entry, problem: '' };
  const envelope = decodeEnvelope(entry.envelope);
  return envelope._tag === 'Left'
    ? { ...base, entry, problem: envelope.left }
    : {
        message,
        entry,
        envelope: envelope.right,
        problem: '',
        operations: envelope.right.to - envelope.right.from + 1,
      };
};

/** Replicas whose state a message needs. */
export const replicasOf = ({ entry }: DecodedMessage): readonly string[] => {
  switch (entry?.kind) {
    case 'envelope':
      return [entry.caller.replica];
    case 'grant': {
      const { origin } = entry.request;
      return origin === null ? [entry.caller.replica] : [entry.caller.replica, origin.replica];
    }
    case 'write':
      return [writeAuthor];
    case 'foreign': {
      const author = backendAuthor(entry.backend);
      return author === undefined ? [] : [author];
    }
    default:
      return [];
  }
};
