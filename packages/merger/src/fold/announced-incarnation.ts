import { TidemarkError } from '@tidemark/model';
import type { InputLog, InputMessage, InputPosition } from '@tidemark/ports';
import type { FoldState } from './fold-state.js';
import { decodeInputEntry } from './input-entry.js';

/** Message behind a position; undefined at the end, and where what follows was trimmed. */
const messageAfter = async (
  input: InputLog,
  position: InputPosition,
): Promise<InputMessage | undefined> => {
  try {
    return (await input.read(position, { maxBytes: 1, maxMessages: 1 }))[0];
  } catch (cause) {
    if (cause instanceof TidemarkError && cause.code === 'storage-damaged') return undefined;
    throw cause;
  }
};

/**
 * Tells whether the next message of the input begins an incarnation that continues exactly this state:
 * what lay between is missing, and that is known.
 */
export const isAnnounced = async (
  input: InputLog,
  { position, digest }: FoldState,
): Promise<boolean> => {
  const next = await messageAfter(input, position);
  if (next === undefined || next.position.generation === position.generation) return false;
  const decoded = decodeInputEntry(next.bytes);
  if (decoded._tag === 'Left' || decoded.right.kind !== 'incarnation') return false;
  const { right } = decoded;
  return (
    right.position.generation === position.generation &&
    right.position.seq === position.seq &&
    right.digest === digest
  );
};
