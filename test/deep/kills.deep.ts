import { expect, test } from 'vitest';
import { killDevices } from '../processes/device-kills.js';
import { killServers } from '../processes/server-kills.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 10);
const killsWanted = 300;
const campaigns = [
  ['device-kills', '[REP-64]', killDevices],
  ['server-kills', '[SRV-90]', killServers],
] as const;
/** Each campaign has an equal share of the minutes; a tenth is left for its end. */
const shareMs = (minutes * 60_000 * 0.9) / campaigns.length;

test.each(campaigns)('%s: %s nothing promised is lost or doubled', async (name, _rule, run) => {
  const { problems, ...counts } = await run({
    seed,
    kills: killsWanted,
    endsAtMs: Date.now() + shareMs,
  });
  console.log(`DEEP ${name} ${counts.kills}/${killsWanted}`);
  console.log(`${name}, seed ${seed}: ${JSON.stringify(counts)}`);
  expect(problems.join('\n\n')).toBe('');
  expect(counts.kills).toBeGreaterThan(0);
});
