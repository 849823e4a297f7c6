import { SeededRandom } from '../convergence/seeded-random.js';
import { mutate } from './mutate.js';
import type { FuzzTarget, Reading, Sample } from './target.js';

/** Time within which any bytes are refused or taken, ms. */
export const readMsMax = 100;
/** Memory that reading any bytes may add, bytes. */
export const readBytesMax = 50 * 1024 * 1024;
/** Mutants kept because a decoder met something new in them. */
const keptMax = 64;
/** Time from which on the memory of a reading is looked at, ms. */
const memoryLookMs = 10;
/** A slow reading is done again: the machine may have been busy. */
const slowTriesMax = 4;
const shownBytes = 240;

/** What fuzzing a decoder found. */
export interface FuzzResult {
  readonly count: number;
  /** Readings by what came of them. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly faults: readonly string[];
}

/** Faults after which a target is given up. */
const faultsMax = 5;

const shown = (bytes: Uint8Array): string =>
  `${bytes.length} bytes ${Buffer.from(bytes.subarray(0, shownBytes)).toString('hex')}`;

const memory = (): number => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

/** Reads once; throws what the decoder throws, and where it takes too long or too much. */
const readBounded = async (target: FuzzTarget, bytes: Uint8Array): Promise<Reading> => {
  let best = Number.POSITIVE_INFINITY;
  for (let tried = 0; ; tried += 1) {
    const before = performance.now() - lastMs < memoryLookMs ? 0 : memory();
    const beganMs = performance.now();
    const answer = target.read(bytes);
    const reading = answer instanceof Promise ? await answer : answer;
    const tookMs = performance.now() - beganMs;
    lastMs = performance.now();
    best = Math.min(best, tookMs);
    if (tookMs > memoryLookMs && before > 0 && memory() - before > readBytesMax)
      throw new Error(`it took ${Math.round((memory() - before) / 2 ** 20)} MB`);
    if (best <= readMsMax) return reading;
    if (tried === slowTriesMax) throw new Error(`it took ${Math.round(best)} ms`);
  }
};
let lastMs = 0;

/** Reads `count` mutants of valid bytes. What is new to a decoder is mutated further. */
export const fuzz = async (
  target: FuzzTarget,
  options: { readonly seed: number; readonly count: number; readonly endsAtMs?: number },
): Promise<FuzzResult> => {
  const random = new SeededRandom(options.seed);
  const samples = target.samples(options.seed);
  const outcomes = new Map<string, number>();
  const faults: string[] = [];
  const kept: Sample[] = [];
  for (const { bytes } of samples)
    if ((await target.read(bytes)).tag !== 'taken')
      faults.push(`a valid one is refused: ${shown(bytes)}`);
  let count = 0;
  while (count < options.count && faults.length < faultsMax) {
    if (options.endsAtMs !== undefined && count % 64 === 0 && Date.now() >= options.endsAtMs) break;
    count += 1;
    const isKept = kept.length > 0 && random.chance(30);
    const base = random.pick(isKept ? kept : samples);
    const other = random.pick(samples).bytes;
    const core = base.cores.length > 0 && random.chance(70) ? random.pick(base.cores) : undefined;
    const bytes =
      core === undefined
        ? mutate(base.bytes, other, random)
        : core.dress(mutate(core.bytes, other, random));
    let outcome: string;
    try {
      const reading = await readBounded(target, bytes);
      outcome = reading.tag === 'taken' ? 'taken' : `refused: ${reading.code}`;
    } catch (cause) {
      faults.push(`${String(cause)} on ${shown(bytes)}`);
      continue;
    }
    const times = outcomes.get(outcome) ?? 0;
    outcomes.set(outcome, times + 1);
    if (times < 4 && kept.length < keptMax) kept.push({ bytes, cores: [] });
  }
  return { count, outcomes, faults };
};
