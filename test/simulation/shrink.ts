import { Violation } from './context.js';
import type { Plan, PlannedEvent } from './plan.js';
import { simulate, type SimResult } from './simulation.js';

/** Runs that shrinking may take. */
export const shrinkRunsMax = 400;

/** A plan that still fails, with what it did. */
export interface Shrunk {
  readonly plan: Plan;
  readonly result: SimResult;
  readonly runs: number;
}

/** Whether two violations are of one kind: the same invariant, or the same words without numbers. */
const isAlike = (a: Error, b: Error | null): boolean => {
  if (b === null) return false;
  if (a instanceof Violation || b instanceof Violation)
    return a instanceof Violation && b instanceof Violation && a.invariant === b.invariant;
  return true;
};

/**
 * Makes a failing plan small: leaves out events, then devices and servers, then the length of pauses, as
 * long as the same invariant breaks. Each run has the same seed, so the result repeats.
 */
export const shrinkPlan = async (plan: Plan, violation: Error): Promise<Shrunk> => {
  let best = plan;
  let result = await simulate(plan);
  let runs = 1;
  const tries = async (next: Plan): Promise<boolean> => {
    if (runs >= shrinkRunsMax) return false;
    runs += 1;
    const tried = await simulate(next);
    if (!isAlike(violation, tried.violation)) return false;
    best = next;
    result = tried;
    return true;
  };
  const withEvents = (events: readonly PlannedEvent[]): Plan => ({ ...best, events });
  const leaveOutEvents = async (): Promise<boolean> => {
    let isSmaller = false;
    for (
      let size = Math.ceil(best.events.length / 2);
      size >= 1;
      size = size === 1 ? 0 : Math.ceil(size / 2)
    )
      for (let at = 0; at < best.events.length;) {
        const rest = [...best.events.slice(0, at), ...best.events.slice(at + size)];
        if (await tries(withEvents(rest))) isSmaller = true;
        else at += size;
      }
    return isSmaller;
  };
  const leaveOutActors = async (): Promise<boolean> => {
    let isSmaller = false;
    while (
      best.devices.length > 1 &&
      (await tries({ ...best, devices: best.devices.slice(0, -1) }))
    )
      isSmaller = true;
    while (best.servers > 1 && (await tries({ ...best, servers: best.servers - 1 })))
      isSmaller = true;
    return isSmaller;
  };
  const shorten = async (): Promise<void> => {
    for (const perEventMs of [1, 1_000, 30_000])
      if (
        await tries(
          withEvents(best.events.map((one, i) => ({ ...one, atMs: 1_000 + i * perEventMs }))),
        )
      )
        return;
  };
  for (let again = true; again && runs < shrinkRunsMax;)
    again = (await leaveOutEvents()) || (await leaveOutActors());
  await leaveOutActors();
  await shorten();
  return { plan: best, result, runs };
};
