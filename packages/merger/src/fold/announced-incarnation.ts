import type { InputLog } from '@tidemark/ports';
import type { FoldState } from './fold-state.js';
import { decodeInputEntry } from './input-entry.js';

/**
 * Tells whether the next message of the input begins an incarnation that continues exactly this state:
 * what lay between is missing, and that is known.
 */
export const isAnnounced = async (
  input: InputLog,
  { position, digest }: Pick<FoldState, 'position' | 'digest'>,
): Promise<boolean> => {
  const [next] = await input.read(position, { maxBytes: 1, maxMessages: 1 });
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
