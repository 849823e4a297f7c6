import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { natsProgram } from '../processes/nats-server.js';
import { testOnNats } from '../processes/on-nats.js';

const finder = fileURLToPath(new URL('../run/nats-server.mjs', import.meta.url));
const run = (env: Readonly<Record<string, string>>) =>
  spawnSync(process.execPath, [finder], { encoding: 'utf8', env: { ...process.env, ...env } });

test('[NAT-60] the finder says what to do and exits 2 where there is no nats-server', () => {
  const { status, stderr } = run({ NATS_SERVER: process.execPath });
  expect(status).toBe(2);
  expect(stderr).toContain('is no nats-server');
});

testOnNats('[NAT-60] the finder takes the one that is named', () => {
  const { status, stdout } = run({ NATS_SERVER: natsProgram ?? '' });
  expect(status).toBe(0);
  expect(stdout).toMatch(/\d+\.\d+\.\d+ \(NATS_SERVER\)/);
});
