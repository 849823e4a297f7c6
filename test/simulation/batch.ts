import { drawPlan } from './plan.js';
import { simulate, type SimResult } from './simulation.js';
import { sometimes } from './sometimes.js';

/** One of so many seeds runs twice, and must leave the same trace. */
export const repeatEvery = 100;
const hourMs = 3_600_000;
const dayMs = 86_400_000;

/** What a batch is to do. */
export interface BatchOptions {
  readonly from: number;
  readonly count: number;
  /** Time after which no further seed is begun, minutes. */
  readonly minutes?: number;
  readonly untilBroken?: boolean;
  readonly onBroken?: (result: SimResult) => void;
}

/** What a batch of seeds did. */
export interface BatchResult {
  readonly from: number;
  readonly seeds: number;
  readonly broken: readonly SimResult[];
  /** Faults that took effect, all seeds together. */
  readonly faults: number;
  readonly faultsMin: number;
  readonly faultKinds: Readonly<Record<string, number>>;
  readonly simulatedDays: number;
  readonly seedsPerHour: number;
  readonly events: number;
  readonly exact: number;
  readonly repeated: number;
  readonly seen: ReadonlyMap<string, number>;
  readonly sometimesMissing: readonly string[];
}

const repeatedOf = async (first: SimResult): Promise<SimResult> => {
  const second = await simulate(drawPlan(first.seed));
  if (second.traceHash === first.traceHash || first.violation !== null) return first;
  const at = first.trace.findIndex((line, i) => line !== second.trace[i]);
  const violation = new Error(
    `I19: the seed ran twice and left ${first.traceHash} and ${second.traceHash}; line ${at}: ${first.trace[at]}`,
  );
  return { ...first, violation };
};

/** Runs neighbouring seeds one after the other. */
export const runBatch = async (options: BatchOptions): Promise<BatchResult> => {
  const { from, count, minutes = Number.POSITIVE_INFINITY, untilBroken = false } = options;
  const beganMs = performance.now();
  const broken: SimResult[] = [];
  const seen = new Map<string, number>();
  let [seeds, faults, simulatedMs, events, exact, repeated] = [0, 0, 0, 0, 0, 0];
  let faultsMin = Number.POSITIVE_INFINITY;
  while (seeds < count && performance.now() - beganMs < minutes * 60_000) {
    const seed = from + seeds;
    let result = await simulate(drawPlan(seed));
    if (seed % repeatEvery === 0) {
      result = await repeatedOf(result);
      repeated += 1;
    }
    seeds += 1;
    faults += result.faults;
    faultsMin = Math.min(faultsMin, result.faults);
    simulatedMs += result.simulatedMs;
    events += result.events;
    if (result.isExact) exact += 1;
    for (const [name, times] of result.seen) seen.set(name, (seen.get(name) ?? 0) + times);
    if (result.violation === null) continue;
    broken.push(result);
    options.onBroken?.(result);
    if (untilBroken) break;
  }
  const tookMs = performance.now() - beganMs;
  return {
    from,
    seeds,
    broken,
    faults,
    faultsMin: seeds === 0 ? 0 : faultsMin,
    faultKinds: Object.fromEntries(
      [...seen].flatMap(([name, times]) =>
        name.startsWith('fault ') ? [[name.slice('fault '.length), times] as const] : [],
      ),
    ),
    simulatedDays: Math.round((simulatedMs / dayMs) * 10) / 10,
    seedsPerHour: Math.round((seeds / tookMs) * hourMs),
    events,
    exact,
    repeated,
    seen,
    sometimesMissing: sometimes.filter((name) => !seen.has(name)),
  };
};
