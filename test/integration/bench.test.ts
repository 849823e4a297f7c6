import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildBench, runBench, type BenchRun } from '../processes/bench-program.js';

let folder: string;
let program: string;
let first: BenchRun;
const baselines = (): string => path.join(folder, 'baselines');
const small = ['upload-merge', '--case', 'uniform-100k', '--records', '1000', '--runs', '1'];

const shareOf = ({ out }: BenchRun): number =>
  (JSON.parse(out) as { readonly shareOfFloor: number }).shareOfFloor;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidemark-bench-test-'));
  program = await buildBench(path.join(folder, 'program'));
  first = await runBench(program, [
    ...small,
    ...[
      '--json',
      '--save',
      '--check',
      '--baselines',
      baselines(),
      '--out',
      path.join(folder, 'out.json'),
    ],
  ]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a suite gives a line of JSON whose results were compared', async () => {
  expect(first.err).toBe('');
  expect(first.code).toBe(0);
  const lines = first.out.trim().split('\n');
  expect(lines).toHaveLength(1);
  const result = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  expect(result).toMatchObject({
    suite: 'upload-merge',
    case: 'uniform-100k',
    transport: 'local',
    records: 1_000,
    verified: true,
    seconds: expect.any(Number) as number,
    perSecond: expect.any(Number) as number,
    floorSeconds: expect.any(Number) as number,
    shareOfFloor: expect.any(Number) as number,
    wireBytes: expect.any(Number) as number,
    peakRssMb: { device: expect.any(Number) as number, server: expect.any(Number) as number },
    cpuSeconds: {
      device: expect.any(Number) as number,
      server: expect.any(Number) as number,
      nats: null,
    },
    settings: { runs: 1, durability: 'os' },
  });
  expect(result['seconds']).toBeGreaterThan(0);
  const kept = JSON.parse(await readFile(path.join(folder, 'out.json'), 'utf8')) as {
    readonly machine: unknown;
    readonly results: readonly unknown[];
  };
  expect(kept.results).toEqual([result]);
  expect(kept.machine).toMatchObject({ node: process.versions.node, nats: null });
});

test('--check fails where a ratio is worse than the baseline, and only there', async () => {
  const file = path.join(baselines(), 'upload-merge.json');
  const key = 'uniform-100k local 1000 of the floor';
  const saved = JSON.parse(await readFile(file, 'utf8')) as Record<string, number>;
  expect(Object.keys(saved)).toEqual([key]);
  expect(saved[key]).toBe(shareOf(first));
  await writeFile(file, JSON.stringify({ [key]: 100 * (saved[key] ?? 0) }));
  const second = await runBench(program, [...small, '--check', '--baselines', baselines()]);
  expect(second.err).toContain(`upload-merge ${key}: `);
  expect(second.code).toBe(1);
});

test('what is asked for wrongly is refused', async () => {
  const { code, err } = await runBench(program, ['--records', '0']);
  expect(err).toContain('--records is a whole number from 1 on, not 0');
  expect(code).toBe(2);
});
