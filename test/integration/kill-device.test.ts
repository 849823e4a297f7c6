import { expect, test } from 'vitest';
import { killDevices } from '../processes/device-kills.js';

/** The deep suite kills 300 times. */
const kills = 25;
const seed = Number(process.env['TIDEMARK_SEED'] ?? 1);

test('[REP-64] a device killed at any moment keeps what it promised, once', async () => {
  const result = await killDevices({ seed, kills });
  const { problems, ...counts } = result;
  console.log(`kills of a device, seed ${seed}: ${JSON.stringify(counts)}`);
  expect(problems.join('\n\n')).toBe('');
  expect(counts.kills).toBe(kills);
  expect(counts.promised).toBeGreaterThan(kills);
  expect(counts.killedEditing).toBeGreaterThan(kills / 10);
  expect(counts.runsEnded).toBeGreaterThan(1);
}, 300_000);
