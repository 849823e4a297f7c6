import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { packageNames, root, textOf } from './repository.js';

type Conditions = Readonly<Record<string, string>>;
interface PublishedManifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly license?: string;
  readonly description?: string;
  readonly sideEffects?: unknown;
  readonly engines?: { readonly node?: string };
  readonly bin?: Readonly<Record<string, string>>;
  readonly files?: readonly string[];
  readonly exports?: Readonly<Record<string, Conditions>>;
  readonly publishConfig?: {
    readonly access?: string;
    readonly exports?: Readonly<Record<string, Conditions>>;
  };
  readonly dependencies?: Readonly<Record<string, string>>;
}

const manifestOf = (name: string): PublishedManifest =>
  JSON.parse(textOf(`packages/${name}/package.json`)) as PublishedManifest;
const published = packageNames().filter((name) => manifestOf(name).private !== true);

describe('manifests of published packages', () => {
  test('all have one version', () => {
    expect(published.length).toBeGreaterThan(0);
    expect([...new Set(published.map((name) => manifestOf(name).version))]).toHaveLength(1);
  });

  test.each(published)('%s says what registries and bundlers ask for', (name) => {
    const manifest = manifestOf(name);
    expect(manifest.name).toBe(`@tidemark/${name}`);
    expect(manifest.license).toBe('Apache-2.0');
    expect(manifest.description).toMatch(/\.$/);
    expect(manifest.engines?.node).toBe('>=20');
    expect(manifest.sideEffects).toBeDefined();
    expect(manifest.publishConfig?.access).toBe('public');
    const files = ['dist', 'src', '!dist/.tsbuildinfo', '!src/**/*.test.ts', '!src/**/*.test-d.ts'];
    expect(manifest.files).toEqual(manifest.bin === undefined ? files : ['bin', ...files]);
  });

  test.each(published)(
    '%s publishes its entries without the condition of this workspace',
    (name) => {
      const { exports = {}, publishConfig } = manifestOf(name);
      const wanted = Object.entries(exports).map(([entry, conditions]) => [
        entry,
        Object.entries(conditions).filter(([condition]) => condition !== '@tidemark/source'),
      ]);
      const given = Object.entries(publishConfig?.exports ?? {}).map(([entry, conditions]) => [
        entry,
        Object.entries(conditions),
      ]);
      expect(given).toEqual(wanted);
    },
  );

  test.each(published)('%s depends on published packages only', (name) => {
    const ours = Object.keys(manifestOf(name).dependencies ?? {})
      .filter((dependency) => dependency.startsWith('@tidemark/'))
      .map((dependency) => dependency.slice('@tidemark/'.length));
    expect(ours.filter((dependency) => !published.includes(dependency))).toEqual([]);
  });
});

type Files = ReadonlyMap<string, Buffer>;
const { problemsIn } = (await import(
  pathToFileURL(path.join(root, 'test/run/package-file.mjs')).href
)) as {
  readonly problemsIn: (
    files: Files,
    expected: { readonly name: string; readonly version: string },
  ) => readonly string[];
};

const goodManifest = {
  name: '@tidemark/example',
  version: '1.2.3',
  license: 'Apache-2.0',
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20' },
  exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
  dependencies: { '@tidemark/model': '1.2.3', uuid: '14.0.3' },
};
const goodFiles = {
  'README.md': '# Example',
  LICENSE: 'Apache',
  'src/index.ts': '',
  'dist/index.js':
    "// from 'nowhere'\nimport { v7 } from 'uuid';\nimport 'node:fs';\nimport './x.js';",
  'dist/index.js.map': '{"sources":["../src/index.ts"]}',
  'dist/index.d.ts': "export type { A } from '@tidemark/model';",
  'dist/index.d.ts.map': '{"sources":["../src/index.ts"]}',
};

/** Problems of a good package that was changed; an undefined file is left out. */
const problemsOf = (
  manifest: object,
  files: Readonly<Record<string, string | undefined>> = {},
): readonly string[] => {
  const all = {
    ...goodFiles,
    'package.json': JSON.stringify({ ...goodManifest, ...manifest }),
    ...files,
  };
  const present = Object.entries(all).flatMap(([name, text]) =>
    text === undefined ? [] : [[name, Buffer.from(text)] as const],
  );
  return problemsIn(new Map(present), { name: '@tidemark/example', version: '1.2.3' });
};

describe('the check of packed files', () => {
  test('passes a good package', () => {
    expect(problemsOf({})).toEqual([]);
  });

  test.each([
    ['another version', { version: '1.2.4' }, 'version is 1.2.4'],
    ['a private package', { private: true }, 'is private'],
    ['no licence', { license: undefined }, 'has no licence'],
    ['a range of ours', { dependencies: { '@tidemark/model': '^1.2.3', uuid: '1' } }, 'exactly'],
    ['a workspace version', { dependencies: { uuid: 'workspace:*' } }, 'uuid is workspace:*'],
    ['an undeclared import', { dependencies: { '@tidemark/model': '1.2.3' } }, 'uuid is not a'],
    ['the source condition', { exports: { '.': { '@tidemark/source': './src/index.ts' } } }, 'has'],
    [
      'types after code',
      { exports: { '.': { default: './a.js', types: './a.d.ts' } } },
      'not types',
    ],
    ['a missing target', { bin: { example: './dist/main.js' } }, 'names dist/main.js'],
  ])('finds %s', (_what, manifest, problem) => {
    expect(problemsOf(manifest).join('\n')).toContain(problem);
  });

  test.each([
    ['no licence text', { LICENSE: undefined }, 'LICENSE is missing'],
    ['a test', { 'src/index.test.ts': '' }, 'src/index.test.ts does not belong'],
    ['a build-info', { 'dist/.tsbuildinfo': '{}' }, 'dist/.tsbuildinfo does not belong'],
    ['a foreign folder', { 'bench/a.ts': '' }, 'bench/a.ts does not belong'],
    ['a left-over of the compiler', { 'dist/old.js': '' }, 'dist/old.js has no source'],
    ['no map', { 'dist/index.js.map': undefined }, 'dist/index.js: has no map'],
    [
      'a map to nowhere',
      { 'dist/index.js.map': '{"sources":["../src/a.ts"]}' },
      'src/a.ts is missing',
    ],
    ['a type of fp-ts', { 'dist/index.d.ts': "import('fp-ts/lib/Either.js')" }, 'type of fp-ts'],
  ])('finds %s', (_what, files, problem) => {
    expect(problemsOf({}, files).join('\n')).toContain(problem);
  });
});
