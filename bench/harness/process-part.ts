import { readFileSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import path from 'node:path';
import type { HotFunction, Usage } from './usage.js';

const hotFunctionsMax = 25;
/** What Linux takes as the order to count the peak anew. */
const resetPeak = '5';
const profileMicroseconds = 1_000;

/** Peak of this process's memory in MB: counted anew by `resetUsage` on Linux, else of its whole life. */
const peakMb = (): number => {
  if (process.platform === 'linux') {
    const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (found !== null) return Math.round(Number(found[1]) / 1_024);
  }
  return Math.round(process.resourceUsage().maxRSS / 1_024);
};

const placeOf = (url: string, line: number): string => {
  const found = /(packages\/[^/]+|node_modules\/(?:@[^/]+\/)?[^/]+|bench)\/(?:dist\/)?(.*)$/.exec(
    url,
  );
  return `${found === null ? url : `${path.basename(found[1] ?? '')}/${found[2] ?? ''}`}:${line + 1}`;
};

/** What an actor tells of its own process. */
export class ProcessPart {
  #session: Session | undefined;

  usage(): Usage {
    const { user, system } = process.cpuUsage();
    return { peakRssMb: peakMb(), cpuSeconds: (user + system) / 1e6 };
  }

  /** Counts the peak of memory from now on, where the system can; returns what was used until now. */
  resetUsage(): Usage {
    try {
      if (process.platform === 'linux') writeFileSync('/proc/self/clear_refs', resetPeak);
    } catch {
      // Without the right to it the peak stays that of the whole life, which is never too small.
    }
    return this.usage();
  }

  /** Begins to sample which functions the processor is in. */
  async beginProfile(): Promise<void> {
    const session = new Session();
    session.connect();
    this.#session = session;
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: profileMicroseconds });
    await session.post('Profiler.start');
  }

  /** Ends the profile; returns the functions that took most, themselves, in percent of the time. */
  async endProfile(): Promise<readonly HotFunction[]> {
    const session = this.#session;
    if (session === undefined) throw new Error('no profile was begun');
    this.#session = undefined;
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    const samples = new Map<number, number>();
    for (const id of profile.samples ?? []) samples.set(id, (samples.get(id) ?? 0) + 1);
    const all = profile.samples?.length ?? 1;
    const functions = new Map<string, HotFunction>();
    for (const { id, callFrame } of profile.nodes) {
      const { functionName, url, lineNumber } = callFrame;
      const name = functionName === '' ? '(anonymous)' : functionName;
      const place = url === '' ? '' : placeOf(url, lineNumber);
      const before = functions.get(`${name} ${place}`)?.percent ?? 0;
      const percent = before + (100 * (samples.get(id) ?? 0)) / all;
      functions.set(`${name} ${place}`, { name, place, percent });
    }
    return [...functions.values()]
      .sort((a, b) => b.percent - a.percent)
      .slice(0, hotFunctionsMax)
      .map((one) => ({ ...one, percent: Number(one.percent.toFixed(1)) }));
  }
}
