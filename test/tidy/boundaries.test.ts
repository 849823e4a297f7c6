// Proof that the checkers bite: each forbidden line is written into a small copy of the workspace's
// shape and must be reported by the rule that forbids it.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { manifestOf, packageNames, root } from './repository.js';

let folder = '';

const write = (file: string, text: string): void => {
  const full = path.join(folder, file);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text);
};

const run = (program: string, args: readonly string[]): { code: number; output: string } => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules', program), ...args],
    { cwd: folder, encoding: 'utf8' },
  );
  return { code: status ?? 1, output: `${stdout}${stderr}` };
};

const lint = () =>
  run('oxlint/bin/oxlint', ['-c', path.join(root, 'test/tidy/oxlint.json'), 'packages']);
const cruise = () =>
  run('dependency-cruiser/bin/dependency-cruise.mjs', [
    '--config',
    path.join(root, 'test/tidy/dependency-cruiser.cjs'),
    'packages',
  ]);

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tidemark-tidy-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const writeWorkspace = (): void => {
  mkdirSync(path.join(folder, 'node_modules/@tidemark'), { recursive: true });
  for (const name of packageNames()) {
    write(`packages/${name}/package.json`, JSON.stringify(manifestOf(`packages/${name}`)));
    write(`packages/${name}/src/index.ts`, `export const name = '${name}';\n`);
    symlinkSync(
      path.join(folder, 'packages', name),
      path.join(folder, 'node_modules/@tidemark', name),
      'junction',
    );
  }
  for (const name of ['level', '@automerge/automerge', 'fp-ts']) {
    write(`node_modules/${name}/package.json`, JSON.stringify({ name, main: 'index.js' }));
    write(`node_modules/${name}/index.js`, 'export const x = 1;\n');
  }
};

const forbiddenImports = [
  ['merge', '@tidemark/ports', 'merge-imports-ours'],
  ['model', '@tidemark/merge', 'model-imports-ours'],
  ['client', '@tidemark/merger', 'client-imports-ours'],
  ['server', '@tidemark/client', 'server-imports-ours'],
  ['node', '@tidemark/testkit', 'node-imports-ours'],
  ['merger', 'level', 'level-has-one-owner'],
  ['client', '@automerge/automerge', 'automerge-has-one-owner'],
  ['client', 'node:fs', 'pure-without-node'],
  ['ports', 'fp-ts', 'ports-imports-foreign'],
  ['protocol', '@tidemark/no-such-package', 'resolvable'],
] as const;

describe('dependency checker', () => {
  test('accepts the shape without a forbidden import', () => {
    writeWorkspace();
    write('packages/merge/src/good.ts', "export { name } from '@tidemark/model';\n");
    const { code, output } = cruise();
    expect(output).toContain('no dependency violations found');
    expect(code).toBe(0);
  });

  test('reports each forbidden import by its rule', () => {
    writeWorkspace();
    const expected = forbiddenImports.map(([from, to, rule], at) => {
      const file = `packages/${from}/src/bad-${at}.ts`;
      write(file, `import * as bad from '${to}';\nexport const y = bad;\n`);
      return `error ${rule}: ${file}`;
    });
    write('packages/model/src/type.ts', "export type { name } from '@tidemark/client';\n");
    write('packages/model/src/one.ts', "export { two } from './two.js';\nexport const one = 1;\n");
    write(
      'packages/model/src/two.ts',
      "import { one } from './one.js';\nexport const two = one;\n",
    );
    expected.push('error model-imports-ours: packages/model/src/type.ts');
    expected.push('error no-cycle: packages/model/src/one.ts');
    const { code, output } = cruise();
    expect(expected.filter((line) => !output.includes(line))).toEqual([]);
    expect(code).not.toBe(0);
  });
});

describe('linter', () => {
  test('accepts plain code in a pure package', () => {
    write('packages/merge/src/good.ts', 'export const half = (n: number): number => n / 2;\n');
    const { code, output } = lint();
    expect(output).toContain('0 errors');
    expect(code).toBe(0);
  });

  test.each([
    ['merge', 'export const now = Date.now();', 'no-restricted-globals'],
    ['client', 'export const now = new Date();', 'no-restricted-globals'],
    ['merger', 'export const chance = Math.random();', 'no-restricted-properties'],
    ['filter', "console.log('x');", 'no-console'],
    ['client', 'setTimeout(() => undefined, 1);', 'no-restricted-globals'],
    ['protocol', "export * as fs from 'node:fs';", 'no-restricted-imports'],
    ['merge', "export * as E from 'fp-ts/Either';", 'no-restricted-imports'],
    ['merge', "export * as E from 'fp-ts/lib/Either';", 'no-restricted-imports'],
    ['merge', "export * as E from 'fp-ts/es6/Either.js';", 'no-restricted-imports'],
    ['merger', "export * as T from 'fp-ts/lib/Task.js';", 'no-restricted-imports'],
    ['store-level', "export * as E from 'fp-ts/Either';", 'no-restricted-imports'],
    ['server', "export * as m from '@tidemark/model/src/ids.js';", 'no-restricted-imports'],
    ['server', 'export const f = (x: any): unknown => x;', 'no-explicit-any'],
    ['server', 'export const f = (x?: string): string => x!;', 'no-non-null-assertion'],
    ['server', 'export default 1;', 'no-default-export'],
  ])('%s: `%s` breaks %s', (name, line, rule) => {
    write(`packages/${name}/src/bad.ts`, `${line}\n`);
    const { code, output } = lint();
    expect(output).toContain(rule);
    expect(code).not.toBe(0);
  });

  test('accepts fp-ts in its one form', () => {
    write('packages/merge/src/good.ts', "export * as E from 'fp-ts/lib/Either.js';\n");
    expect(lint().code).toBe(0);
  });
});
