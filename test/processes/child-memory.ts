import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

const lookMs = 100;

/** Greatest resident memory of a process so far, MB, as Linux counts it; 0 where it cannot be asked. */
const peakMbOf = (pid: number): number => {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
};

/** Watches the memory of a process until it ends; tells its peak in MB. */
export const watchPeak = (child: ChildProcess): (() => number) => {
  let peak = 0;
  const timer = setInterval(() => {
    if (child.pid !== undefined) peak = Math.max(peak, peakMbOf(child.pid));
  }, lookMs);
  child.once('exit', () => clearInterval(timer));
  return () => peak;
};
