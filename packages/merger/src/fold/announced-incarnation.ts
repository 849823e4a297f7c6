import type { InputLog, InputPosition } from '@tidemark/ports';
import type { FoldState } from './fold-state.js';
import { decodeInputEntry } from './input-entry.js';

/** Position after which the generation behind a state's begins. */
export const nextGeneration = ({ position }: Pick<FoldState, 'position'>): InputPosition => ({
  generation: position.generation + 1,
  seq: 0,
});

/**
 * Tells whether the generation behind the state's begins with an incarnation that continues exactly this
 * state: what the old generation holds beyond is missing or of another line, and that is known.
 */
export const isAnnounced = async (
  input: InputLog,
  state: Pick<FoldState, 'position' | 'digest'>,
): Promise<boolean> => {
  const { position, digest } = state;
  const [next] = await input.read(nextGeneration(state), { maxBytes: 1, maxMessages: 1 });
  if (next === undefined) return false;
  const decoded = decodeInputEntry(next.bytes);
  if (decoded._tag === 'Left' || decoded.right.kind !== 'incarnation') return false;
  const { right } = decoded;
  return (
    right.position.generation === position.generation &&
    right.position.seq === position.seq &&
    right.digest === digest
  );
};
