import type { InputLog, Timer } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import { comparePositions, standOf, type Fellows, type FellowWord, type Stand } from './fellows.js';

/** Words that a server says about its place before it begins a new incarnation. */
export const standWordsMax = 5;
/** Time between two of them, ms. */
export const standEveryMs = 200;
/** Longest wait for a more advanced server to begin the incarnation, ms. */
export const begunElsewhereMsMax = 10_000;

/** Who works with an election. */
export interface ElectionParts {
  readonly fellows: Fellows;
  readonly timer: Timer;
  readonly input: InputLog;
}

type Candidate = Stand & Pick<FellowWord, 'from'>;

const isGreater = (a: Candidate, b: Candidate): boolean => {
  const order =
    a.incarnation - b.incarnation || comparePositions(a.position, b.position) || a.n - b.n;
  if (order !== 0) return order > 0;
  return a.digest === b.digest ? a.from > b.from : a.digest > b.digest;
};

/**
 * Finds out whether this server, whose input is missing, is the one to begin the new incarnation: the most
 * advanced of those that say so within a second. Resolves `look-again` when another one has begun; whoever
 * waits too long for that begins after all. The input itself lets exactly one succeed.
 */
export const standForIncarnation = async (
  { fellows, timer, input }: ElectionParts,
  state: FoldState,
): Promise<'begin' | 'look-again'> => {
  const { generation } = await input.extent();
  const hasMoved = async (): Promise<boolean> => (await input.extent()).generation > generation;
  const own: Candidate = { ...standOf(state), from: fellows.id };
  let greatest = own;
  const stop = fellows.onWord((word) => {
    if (word.kind === 'stand' && isGreater(word, greatest)) greatest = word;
  });
  try {
    for (let said = 0; said < standWordsMax; said += 1) {
      fellows.say('stand', own);
      await timer.sleep(standEveryMs);
      if (await hasMoved()) return 'look-again';
    }
    if (greatest === own) return 'begin';
    for (let waited = 0; waited < begunElsewhereMsMax; waited += standEveryMs) {
      fellows.say('stand', own);
      await timer.sleep(standEveryMs);
      if (await hasMoved()) return 'look-again';
    }
    return 'begin';
  } finally {
    stop();
  }
};
