import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesBelow, root, textOf } from './repository.js';

describe('generated documents', () => {
  test('errors.md and limits.md are what the sources say', () => {
    const script = path.join(root, 'test/run/generate-docs.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, '--check'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });

  // Apart from the generator's own reading: a plain search, so that a gap in one shows in the other.
  test('every exported bound stands in limits.md with a number', () => {
    const bound = /^export const (\w+(?:Max|Bytes|Ms))(?::\s*number)? =(?!\s*\()/gm;
    const files = filesBelow(
      'packages',
      (file) =>
        /\/src\/.*\.ts$/.test(file) &&
        !file.endsWith('.test.ts') &&
        !file.startsWith('packages/testkit/'),
    );
    const names = files.flatMap((file) =>
      [...textOf(file).matchAll(bound)].map((match) => match[1] ?? ''),
    );
    expect(names.length).toBeGreaterThan(10);
    const page = textOf('docs/limits.md');
    expect(
      names.filter((name) => !new RegExp(`\\| \`${name}\` +\\| +[\\d.,]+ `).test(page)),
    ).toEqual([]);
  });

  test('every error code stands in errors.md once', () => {
    const source = textOf('packages/model/src/error-codes.ts');
    const codes = [...source.matchAll(/^ {2}'?([a-z-]+)'?: entry\(/gm)].map(
      (match) => match[1] ?? '',
    );
    expect(codes.length).toBeGreaterThan(30);
    const page = textOf('docs/errors.md');
    expect(codes.filter((code) => page.split(`| \`${code}\` `).length !== 2)).toEqual([]);
  });
});
