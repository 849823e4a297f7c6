import { invariant, TidemarkError } from '@tidemark/model';
import type { InputMessage, InputPosition } from '@tidemark/ports';
import type { Database } from './database.js';
import { comparePositions, decodeMessage, messageKey, messagePosition } from './input-keys.js';
import { nextPosition, type InputState } from './input-state.js';
import { scanKeys } from './server-reads.js';

/**
 * Messages after a position. Never passes over a missing message: it ends before it, and a read that
 * would begin with one rejects with `storage-damaged` and its range.
 */
export const readMessages = async (
  database: Database,
  state: InputState,
  after: InputPosition,
  bounds: { readonly maxBytes: number; readonly maxMessages: number },
): Promise<readonly InputMessage[]> => {
  const messages: InputMessage[] = [];
  let position = after.generation < 1 ? { generation: 1, seq: 0 } : after;
  if (comparePositions(position, state.trimmed) < 0)
    throw new TidemarkError('storage-damaged', 'the input before this position was trimmed', {
      generation: state.trimmed.generation,
      trimmedTo: state.trimmed.seq,
    });
  let expected = nextPosition(state, position);
  if (expected === undefined || bounds.maxMessages < 1) return messages;
  const start = expected;
  let bytes = 0;
  let found: InputPosition | undefined;
  await scanKeys(
    database,
    // What became durable after this call began is left to the next one.
    { gte: messageKey(start), lte: messageKey(state.end) },
    { entries: bounds.maxMessages, bytes: bounds.maxBytes },
    (key, value) => {
      const message = decodeMessage(messagePosition(key), value);
      found = message.position;
      if (expected === undefined || comparePositions(found, expected) !== 0) return false;
      if (messages.length > 0 && bytes + message.bytes.length > bounds.maxBytes) return false;
      messages.push(message);
      bytes += message.bytes.length;
      position = found;
      expected = nextPosition(state, position);
      return true;
    },
  );
  if (messages.length > 0) return messages;
  invariant(expected !== undefined, 'a read ended before its first message');
  throw new TidemarkError('storage-damaged', 'messages of the input are missing', {
    generation: expected.generation,
    first: expected.seq,
    foundGeneration: found?.generation ?? state.end.generation,
    foundSeq: found?.seq ?? state.end.seq,
  });
};
