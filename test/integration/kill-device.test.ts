import { expect, test } from 'vitest';
import { killDevices } from '../processes/device-kills.js';

const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);

test('[REP-64] a device killed at any moment keeps what it promised, once', async () => {
  const result = await killDevices({ seed, kills: 50 });
  const { problems, ...counts } = result;
  console.log(`kills of a device, seed ${seed}: ${JSON.stringify(counts)}`);
  expect(problems.join('\n\n')).toBe('');
  expect(counts.kills).toBe(50);
  expect(counts.promised).toBeGreaterThan(50);
  expect(counts.killedEditing).toBeGreaterThan(5);
  expect(counts.runsEnded).toBeGreaterThan(0);
  expect(counts.killedInCall).toBe(16);
}, 300_000);
