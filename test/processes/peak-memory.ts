import { readFileSync } from 'node:fs';

const mb = 1024 * 1024;

/**
 * Largest resident memory that this process has had, in MB. On Linux it is read from the process itself:
 * `maxRSS` there begins with the size of the parent that forked it.
 */
export const peakMemoryMb = (): number => {
  if (process.platform === 'linux') {
    const kb = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    if (kb !== undefined) return (Number(kb) * 1024) / mb;
  }
  return (process.resourceUsage().maxRSS * 1024) / mb;
};
