import type { Run } from './character-runs.js';

/** Numbers that the runs of an actor in a block lie between; `to` is not included. Some between may be missing. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * RunBlock is some runs of a text that stand next to each other, with what tells quickly that a character is
 * not among them and how many units they show. A block that a draft did not make itself is never changed.
 */
export interface RunBlock {
  readonly runs: Run[];
  readonly spans: Map<string, Span>;
  /** UTF-16 units that the runs show. */
  units: number;
}

/** Most runs of a block: a step walks the blocks and then one of them. */
export const runsPerBlockMax = 256;

/** Notes that a run stands in a block. */
export const coverRun = ({ spans }: RunBlock, { actor, ctr, count }: Run): void => {
  const span = spans.get(actor);
  const to = ctr + count;
  if (span === undefined) spans.set(actor, { from: ctr, to });
  else if (ctr < span.from || to > span.to)
    spans.set(actor, { from: Math.min(ctr, span.from), to: Math.max(to, span.to) });
};

/** Tells whether a character may stand in a block. */
export const mayHold = ({ spans }: RunBlock, ctr: number, actor: string): boolean => {
  const span = spans.get(actor);
  return span !== undefined && ctr >= span.from && ctr < span.to;
};

/** Block of these runs, which it takes over. */
export const blockOf = (runs: Run[]): RunBlock => {
  const block: RunBlock = { runs, spans: new Map(), units: 0 };
  for (const run of runs) {
    coverRun(block, run);
    block.units += run.text.length;
  }
  return block;
};

/** The same block, to be changed. */
export const copyBlock = ({ runs, spans, units }: RunBlock): RunBlock => ({
  runs: [...runs],
  spans: new Map(spans),
  units,
});

/** Blocks of runs, half full, so that each takes some more. */
export const blocksOf = (runs: readonly Run[]): RunBlock[] => {
  const blocks: RunBlock[] = [];
  const size = runsPerBlockMax / 2;
  for (let at = 0; at < runs.length; at += size) blocks.push(blockOf(runs.slice(at, at + size)));
  return blocks;
};
