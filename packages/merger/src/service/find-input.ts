import { TidemarkError, toHex } from '@tidemark/model';
import type { InputExtent, InputLog, InputMessage } from '@tidemark/ports';
import {
  continuesFrom,
  isBeyondEnd,
  isReachable,
  nextIncarnation,
} from '../fold/announced-incarnation.js';
import type { FoldState } from '../fold/fold-state.js';

/** What an input is looked at with. */
export interface FindInputParts {
  readonly input: InputLog;
  readonly extent: InputExtent;
  /** Others write into this input and cut it: what comes next is looked at, too. */
  readonly isShared: boolean;
}

/**
 * Where a state stands to the input. `continues`: the input holds what was folded last, and all that
 * follows. `announced`: it goes on with a new incarnation from exactly this state. `elsewhere`: it goes on
 * from another state. `missing`: what was folded last is not there. `begins-later`: what follows
 * is not there.
 */
export type InputFound = 'continues' | 'announced' | 'elsewhere' | 'missing' | 'begins-later';

type Place = Pick<FoldState, 'n' | 'position' | 'digest' | 'lastHash'>;

const unlessGap = async <A>(work: () => Promise<A>): Promise<A | 'gap'> => {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof TidemarkError && cause.code === 'storage-damaged') return 'gap';
    throw cause;
  }
};

const nextMessage = (input: InputLog, state: Place): Promise<InputMessage | undefined | 'gap'> =>
  unlessGap(async () => {
    const [next] = await input.read(state.position, { maxBytes: 1, maxMessages: 1 });
    return next;
  });

const isOwn = async (input: InputLog, state: Place): Promise<boolean | undefined> => {
  const hash = await input.hashAt(state.position);
  return hash === undefined ? undefined : toHex(hash) === state.lastHash;
};

/** The state is of a generation that has ended. */
const findBehind = async (
  state: Place,
  { input, isShared }: FindInputParts,
): Promise<InputFound> => {
  const { position } = state;
  // Alone: an opening that ended before it folded the message that it had stored.
  const begun = await unlessGap(() => nextIncarnation(input, state));
  if (begun !== 'gap' && begun !== undefined && continuesFrom(begun, state)) return 'announced';
  const own = position.seq === 0 ? true : await isOwn(input, state);
  // Nobody else writes here: a new incarnation begins, from what this store holds.
  if (!isShared && own !== true) return begun === 'gap' ? 'begins-later' : 'missing';
  if (begun !== 'gap' && begun !== undefined && !isReachable(begun, state)) return 'elsewhere';
  // The generation lost its end and ended all the same, before anybody saw it.
  if (own === undefined && (await isBeyondEnd(input, state))) return 'elsewhere';
  const next = await nextMessage(input, state);
  // Cut off beyond the beginning of the next generation: only a checkpoint leads there.
  if (next === 'gap') return 'begins-later';
  // Behind the end of its generation the input goes on with another state's incarnation.
  const isAtEnd = next !== undefined && next.position.generation > position.generation;
  if (isAtEnd && begun !== 'gap' && begun !== undefined) return 'elsewhere';
  if (own === true) return 'continues';
  if (own === false) return 'elsewhere';
  // Cut off up to here, or the stream is gone: what follows is there.
  return next === undefined ? 'missing' : 'continues';
};

/** Finds where a state stands to the input. */
export const findInput = async (state: Place, parts: FindInputParts): Promise<InputFound> => {
  const { input, extent, isShared } = parts;
  const { generation, seq } = state.position;
  if (generation > extent.generation) return 'missing';
  if (generation < extent.generation) return findBehind(state, parts);
  const isGap = async (): Promise<boolean> =>
    isShared && extent.last > seq && (await nextMessage(input, state)) === 'gap';
  if (seq === 0) {
    const begins = (extent.first <= 1 && !(await isGap())) || state.n > 0;
    return begins ? 'continues' : 'begins-later';
  }
  const own = await isOwn(input, state);
  if (own !== undefined) {
    if (!own) return 'missing';
    return (await isGap()) ? 'begins-later' : 'continues';
  }
  // Trimmed exactly up to the position: the next message is the first one kept.
  if (extent.last >= seq && extent.first === seq + 1) return 'continues';
  return extent.last >= seq && extent.first > seq + 1 ? 'begins-later' : 'missing';
};
