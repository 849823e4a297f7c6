import { expect, test } from 'vitest';
import { killServers } from '../processes/server-kills.js';

/** The deep suite kills 300 times. */
const kills = 30;
const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);

test('[SRV-90] a server killed at any moment keeps what it promised, once', async () => {
  const { problems, ...counts } = await killServers({ seed, kills });
  console.log(`kills of a server, seed ${seed}: ${JSON.stringify(counts)}`);
  expect(problems.join('\n\n')).toBe('');
  expect(counts.kills).toBe(kills);
  expect(counts.killedInRun).toBeGreaterThan(kills / 5);
  expect(counts.batches).toBeGreaterThan(kills * 2);
  expect(counts.killedInCall).toBe(Math.floor((kills - 1) / 3));
}, 300_000);
