import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { filesBelow, root, textOf } from './repository.js';

const linesMax = 500;
const bannedNames = /(^|\/)(utils?|common|helpers?|shared|core|misc)(\.|\/|$)/;
const source = /\.(ts|mts|cts|js|mjs|cjs)$/;
const sources = ['packages', 'test', 'bench'].flatMap((folder) =>
  filesBelow(folder, (file) => source.test(file)),
);

describe('names and sizes', () => {
  test('the top level holds only what the design allows', () => {
    const allowed = new Set([
      'packages',
      'docs',
      'bench',
      'test',
      'pnpm-workspace.yaml',
      'package.json',
      'tsconfig.base.json',
      'README.md',
      'LICENSE',
      'NOTICE',
      'pnpm-lock.yaml',
      'node_modules',
    ]);
    const others = readdirSync(root).filter((name) => !name.startsWith('.') && !allowed.has(name));
    expect(others).toEqual([]);
  });

  test(`no source file is longer than ${linesMax} lines`, () => {
    expect(sources.length).toBeGreaterThan(0);
    const long = sources
      .map((file) => ({ file, lines: textOf(file).split('\n').length - 1 }))
      .filter(({ lines }) => lines > linesMax);
    expect(long).toEqual([]);
  });

  test('no file or folder has a name without a meaning', () => {
    expect(sources.filter((file) => bannedNames.test(file))).toEqual([]);
  });

  test('source files are kebab-case nouns', () => {
    const name = /\/[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*\.[a-z]+$/;
    expect(sources.filter((file) => !name.test(file))).toEqual([]);
  });

  test('no test is switched off or singled out', () => {
    const switched =
      /\b(describe|test|it)(\.(concurrent|sequential))*\.(only|skip|todo|skipIf|runIf|fails)\b|\bx(it|describe|test)\s*\(/;
    const found = sources
      .filter((file) => /\.(test|deep)\.ts$/.test(file) || file.startsWith('packages/testkit/'))
      .filter((file) => switched.test(textOf(file)));
    expect(found).toEqual([]);
  });

  test('an index lists its exports by name and has no logic', () => {
    const indexes = sources.filter((file) => /^packages\/[^/]+\/src\/index\.ts$/.test(file));
    expect(indexes.length).toBeGreaterThan(0);
    const wrong = indexes.filter((file) => {
      const code = textOf(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const rest = code.replaceAll(/export\s+(type\s+)?\{[^}]*\}\s+from\s+'[^']+';/g, '').trim();
      return rest !== '';
    });
    expect(wrong).toEqual([]);
  });

  test('the lock file and manifests name no registry host', () => {
    const files = [
      'pnpm-lock.yaml',
      'pnpm-workspace.yaml',
      ...filesBelow('', (file) => /(^|\/)(package\.json|\.npmrc)$/.test(file)),
    ];
    expect(files.filter((file) => /https?:\/\/|registry\s*=/.test(textOf(file)))).toEqual([]);
  });
});
