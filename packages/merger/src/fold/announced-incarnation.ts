import type { InputLog, InputPosition } from '@tidemark/ports';
import type { FoldState } from './fold-state.js';
import { decodeInputEntry, type InputEntry } from './input-entry.js';

/** Position after which the generation behind a state's begins. */
export const nextGeneration = ({ position }: Pick<FoldState, 'position'>): InputPosition => ({
  generation: position.generation + 1,
  seq: 0,
});

type BegunIncarnation = Extract<InputEntry, { readonly kind: 'incarnation' }>;

/** First entry of the generation behind a state's where that is the beginning of an incarnation. */
export const nextIncarnation = async (
  input: InputLog,
  state: Pick<FoldState, 'position'>,
): Promise<BegunIncarnation | undefined> => {
  const [next] = await input.read(nextGeneration(state), { maxBytes: 1, maxMessages: 1 });
  if (next === undefined) return undefined;
  const decoded = decodeInputEntry(next.bytes);
  if (decoded._tag === 'Left' || decoded.right.kind !== 'incarnation') return undefined;
  return decoded.right;
};

/**
 * Whether an incarnation continues exactly a state: what the old generation holds beyond is missing or of
 * another line, and that is known.
 */
export const continuesFrom = (
  begun: BegunIncarnation,
  { position, digest }: Pick<FoldState, 'position' | 'digest'>,
): boolean =>
  begun.position.generation === position.generation &&
  begun.position.seq === position.seq &&
  begun.digest === digest;

/**
 * Whether folding the rest of its generation can lead a state to where an incarnation continues that does not
 * continue it here: not where that began from a state which lacks some of the rest, or holds more.
 */
export const isReachable = (
  { position, lastGood }: BegunIncarnation,
  state: Pick<FoldState, 'position'>,
): boolean =>
  position.generation === state.position.generation &&
  position.seq > state.position.seq &&
  lastGood.generation === position.generation &&
  lastGood.seq === position.seq;

/** Whether a state has folded more of a generation than that held when it ended: its end was lost before. */
export const isBeyondEnd = async (
  input: InputLog,
  { position }: Pick<FoldState, 'position'>,
): Promise<boolean> => {
  const end = await input.endOf(position.generation);
  return end !== undefined && end < position.seq;
};
