import type { SeededRandom } from '../convergence/seeded-random.js';
import type { Scheduler } from './scheduler.js';

/** Invariants that the simulator checks, by their names in the specification. */
export type Invariant =
  | 'I1'
  | 'I2'
  | 'I3'
  | 'I4'
  | 'I5'
  | 'I6'
  | 'I7'
  | 'I8'
  | 'I9'
  | 'I10'
  | 'I11'
  | 'I12'
  | 'I13'
  | 'I14'
  | 'I15'
  | 'I16'
  | 'I17'
  | 'I18'
  | 'I19';

/** An invariant that did not hold. */
export class Violation extends Error {
  readonly invariant: Invariant;
  constructor(invariant: Invariant, what: string) {
    super(`${invariant}: ${what}`);
    this.name = 'Violation';
    this.invariant = invariant;
  }
}

const dayMs = 86_400_000;
const startMs = 1_800_000_000_000;

const digits = (value: number, count: number): string => String(value).padStart(count, '0');

/** Text of a virtual moment: day and time since the beginning of the seed. */
export const momentOf = (ms: number): string => {
  const since = ms - startMs;
  const inDay = Math.trunc(since % dayMs);
  const [hours, minutes] = [Math.floor(inDay / 3_600_000), Math.floor(inDay / 60_000) % 60];
  const [seconds, millis] = [Math.floor(inDay / 1_000) % 60, inDay % 1_000];
  const clock = `${digits(hours, 2)}:${digits(minutes, 2)}:${digits(seconds, 2)}.${digits(millis, 3)}`;
  return `${Math.floor(since / dayMs)}d ${clock}`;
};

/** What all parts of one simulated world have in common: time, chance, trace, counters. */
export class SimContext {
  static readonly startMs = startMs;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly trace: string[] = [];
  /** Faults that took effect, by kind. */
  readonly faults = new Map<string, number>();
  /** Events that must happen sometimes, by name. */
  readonly seen = new Map<string, number>();
  /** First violation that was met outside of an awaited check. */
  violation: Error | null = null;

  constructor(scheduler: Scheduler, random: SeededRandom) {
    this.scheduler = scheduler;
    this.random = random;
  }

  /** Adds a line to the trace. */
  note(text: string): void {
    this.trace.push(`${momentOf(this.scheduler.nowMs)} ${text}`);
    for (let i = 0; i < text.length; i += 7) this.scheduler.note(text.charCodeAt(i));
    this.scheduler.note(text.length);
  }

  /** Counts a fault that took effect; `text` goes to the trace. */
  fault(kind: string, text?: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    this.saw(`fault ${kind}`);
    if (text !== undefined) this.note(`FAULT ${kind}: ${text}`);
  }

  /** Counts an event that a batch must meet sometimes. */
  saw(name: string): void {
    this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
  }

  /** Keeps a violation that was met in a callback; the run throws it. */
  violate(invariant: Invariant, what: string): void {
    this.violation ??= new Violation(invariant, what);
  }

  faultCount(): number {
    let count = 0;
    for (const one of this.faults.values()) count += one;
    return count;
  }
}
