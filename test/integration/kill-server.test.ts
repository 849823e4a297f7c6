import { expect, test } from 'vitest';
import { killServers } from '../processes/server-kills.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);

test('[SRV-90] a server killed at any moment keeps what it promised, once', async () => {
  const { problems, ...counts } = await killServers({ seed, kills: 50 });
  console.log(`kills of a server, seed ${seed}: ${JSON.stringify(counts)}`);
  expect(problems.join('\n\n')).toBe('');
  expect(counts.kills).toBe(50);
  expect(counts.killedInRun).toBeGreaterThan(10);
  expect(counts.batches).toBeGreaterThan(100);
}, 300_000);
