import { toHex } from '@tidemark/model';
import { resumePointsMax, type HeadPoint } from '@tidemark/protocol';
import type { LocalReplica } from '../local/local-replica.js';

type Log = Pick<LocalReplica, 'logEnd' | 'logStart' | 'logBase' | 'readLog'>;

/** Transaction end that holds an operation: the index of its last operation with the head after it. */
const endOf = async (log: Log, index: number): Promise<HeadPoint | undefined> => {
  const { lastIndex, head } = log.logEnd();
  if (index === lastIndex) return [lastIndex, toHex(head)];
  if (index < log.logStart() || index > lastIndex) return undefined;
  const [entry] = await log.readLog(index, 1);
  return entry && [entry.index + entry.opCount - 1, toHex(entry.head)];
};

/** Lowest position that the log can prove: where it was trimmed, or its beginning. */
export const logBase = (log: Log): HeadPoint => {
  const { lastIndex, head } = log.logBase();
  return [lastIndex, toHex(head)];
};

/** Head (hexadecimal) after the transaction that ends at `index`; undefined when none kept ends there. */
export const headAt = async (log: Log, index: number): Promise<string | undefined> => {
  const base = logBase(log);
  if (base[0] === index) return base[1];
  const point = await endOf(log, index);
  return point?.[0] === index ? point[1] : undefined;
};

/**
 * Transaction ends strictly between `common` and `upper`, evenly spread, newest first, at most
 * `resumePointsMax`. Empty when there is none: then `common` is exact.
 */
export const pointsBetween = async (
  log: Log,
  common: number,
  upper: number,
): Promise<readonly HeadPoint[]> => {
  const low = Math.max(common + 1, log.logStart());
  const high = Math.min(upper - 1, log.logEnd().lastIndex);
  if (high < low) return [];
  const steps = Math.min(resumePointsMax, high - low + 1);
  const points: HeadPoint[] = [];
  for (let step = 0; step < steps; step += 1) {
    const index = high - Math.floor((step * (high - low + 1)) / steps);
    const point = await endOf(log, index);
    // A long transaction may hold several of the indexes, or end beyond them.
    if (point === undefined || point[0] >= upper || point[0] <= common) continue;
    if (points[points.length - 1]?.[0] !== point[0]) points.push(point);
  }
  if (points.length > 0) return points;
  // The ends may all lie below the samples: the transaction that begins the gap decides.
  const first = await endOf(log, low);
  return first !== undefined && first[0] < upper && first[0] > common ? [first] : [];
};

/** Points of a first resume: the end of the log, and what the newest receipt covers. */
export const firstPoints = async (log: Log, mergedTo: number): Promise<readonly HeadPoint[]> => {
  const end = log.logEnd();
  const points: HeadPoint[] = end.lastIndex === 0 ? [] : [[end.lastIndex, toHex(end.head)]];
  if (mergedTo > 0 && mergedTo < end.lastIndex) {
    const head = await headAt(log, mergedTo);
    if (head !== undefined) points.push([mergedTo, head]);
  }
  return points;
};
