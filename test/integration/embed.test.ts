import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { embed } from './embed.js';

const fences = (page: string): readonly string[] =>
  [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');

test('[REP-30] the example of README.md runs as it is printed', async () => {
  const read = (file: string): Promise<string> => readFile(new URL(file, import.meta.url), 'utf8');
  expect(fences(await read('../../README.md'))).toContain(await read('./embed.ts'));
  const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-example-'));
  try {
    expect(await embed(folder)).toBe('done, 5 parts');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
