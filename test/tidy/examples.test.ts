import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { examplePages, examplesOf, problemsIn, promisedLines } from './page-examples.js';
import { filesBelow, packageNames, root, textOf } from './repository.js';

const examples = examplePages().flatMap(examplesOf);
const packageExamples = examples.filter(({ page }) => page.startsWith('packages/'));
const runnable = packageExamples.filter(({ selfContained }) => selfContained);

describe('examples', () => {
  test('every package page has one, and all are found', () => {
    const pages = new Set(packageExamples.map(({ page }) => page));
    expect(packageNames().filter((name) => !pages.has(`packages/${name}/README.md`))).toEqual([]);
    expect(examples.some(({ page }) => page === 'README.md')).toBe(true);
    expect(examples.some(({ page }) => page === 'docs/quick-start.md')).toBe(true);
  });

  test('no fence escapes by another name of the language', () => {
    const pages = filesBelow('', (file) => file.endsWith('.md'));
    const other = /^ *```(js|mjs|jsx|javascript|tsx|mts|typescript) *$|^ +```ts/m;
    expect(pages.filter((page) => other.test(textOf(page)))).toEqual([]);
  });

  test('all pass the strict compiler, which sees a wrong one', () => {
    const code = "import { openReplica } from '@tidemark/node';\nopenReplica({ folder: 1 });\n";
    const file = path.join(root, 'test/example-wrong.ts');
    const found = problemsIn([...examples, { page: 'wrong', file, code, selfContained: true }]);
    expect(found.filter((problem) => !problem.startsWith('wrong: '))).toEqual([]);
    expect(found.length).toBeGreaterThan(0);
  });
});

/** Native and wasm packages find their files beside themselves, so they stay where they are. */
const leftInPlace: Plugin = {
  name: 'left-in-place',
  setup: (bundler) => {
    const filter =
      /^(classic-level|level|memory-level|@automerge\/automerge|@nats-io\/[a-z-]+|commander|fast-check|vitest)$/;
    bundler.onResolve({ filter }, async ({ path: name, kind, resolveDir, pluginData }) => {
      if (pluginData === 'asked') return undefined;
      const found = await bundler.resolve(name, { kind, resolveDir, pluginData: 'asked' });
      return { path: pathToFileURL(found.path).href, external: true };
    });
  },
};

describe('examples of packages', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tidemark-examples-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(runnable)('$page runs and prints what it says', async (example) => {
    const outdir = path.join(folder, path.basename(example.file, '.ts'));
    await build({
      stdin: { contents: example.code, loader: 'ts', resolveDir: path.join(root, 'test') },
      outfile: path.join(outdir, 'example.mjs'),
      bundle: true,
      format: 'esm',
      platform: 'node',
      conditions: ['@tidemark/source'],
      plugins: [leftInPlace],
      logLevel: 'silent',
    });
    // Folders that an example names are made in its own one.
    const cwd = path.join(outdir, 'cwd');
    mkdirSync(cwd);
    const child = spawn(process.execPath, [path.join(outdir, 'example.mjs')], {
      cwd,
      timeout: 60_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.err += chunk));
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(output.err).toBe('');
    expect(code).toBe(0);
    expect(output.out.split('\n').slice(0, -1)).toEqual(promisedLines(example));
  });
});
