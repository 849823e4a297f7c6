import { expect, test } from 'vitest';
import { killDevices } from '../processes/device-kills.js';
import { killServers } from '../processes/server-kills.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 10);
const killsWanted = 300;
const campaigns = [
  // Part of the minutes by whose end each campaign ends; a tenth is left for the last one's end.
  ['device-kills', '[REP-64]', killDevices, 0.3],
  ['server-kills', '[SRV-90]', killServers, 0.9],
] as const;
const startMs = Date.now();

/** Problems that are printed beside the counts, and characters of each. */
const problemsShown = 5;
const problemTextMax = 300;

/** Problems as lines of the summary, which is all that is seen of a run elsewhere. */
const tell = (name: string, problems: readonly string[]): void => {
  for (const problem of problems.slice(0, problemsShown))
    console.log(`DEEP ${name} problem: ${problem.replace(/\s+/g, ' ').slice(0, problemTextMax)}`);
};

test.each(campaigns)(
  '%s: %s nothing promised is lost or doubled',
  async (name, _rule, run, part) => {
    const beganMs = Date.now();
    const { problems, ...counts } = await run({
      seed,
      kills: killsWanted,
      endsAtMs: startMs + minutes * 60_000 * part,
    }).catch((error: unknown) => {
      tell(name, [String(error)]);
      throw error;
    });
    console.log(`DEEP ${name} ${counts.kills}/${killsWanted}`);
    console.log(`DEEP ${name} problems ${problems.length}/0`);
    tell(name, problems);
    const seconds = Math.round((Date.now() - beganMs) / 1_000);
    console.log(`${name}, seed ${seed}, ${seconds} s: ${JSON.stringify(counts)}`);
    expect(problems.join('\n\n')).toBe('');
    expect(counts.kills).toBeGreaterThan(0);
  },
);
