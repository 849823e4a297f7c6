import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { root, type Manifest } from './repository.js';

const accepted = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Python-2.0',
  'Unlicense',
]);

// Build tools that stay on the developer's machine and in no published package.
const toolsOnly = new Map([['lightningcss', 'MPL-2.0']]);

const textOfLicence = (manifest: Manifest): string => {
  if (typeof manifest.license === 'string') return manifest.license;
  const list = Array.isArray(manifest.licenses) ? manifest.licenses : [manifest.license];
  return list
    .map((entry) => (entry as { readonly type?: string } | undefined)?.type ?? '')
    .join(' OR ');
};

const isAccepted = (expression: string): boolean =>
  expression
    .replaceAll(/[()]/g, '')
    .split(/\s+OR\s+/)
    .some((choice) => choice.split(/\s+AND\s+/).every((name) => accepted.has(name.trim())));

const isToolOnly = (name: string, licence: string): boolean =>
  [...toolsOnly].some(
    ([tool, known]) => known === licence && (name === tool || name.startsWith(`${tool}-`)),
  );

const installedManifests = (): Manifest[] => {
  const store = path.join(root, 'node_modules/.pnpm');
  const manifests = new Map<string, Manifest>();
  const read = (folder: string): void => {
    const file = path.join(folder, 'package.json');
    if (!existsSync(file)) return;
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
    manifests.set(manifest.name, manifest);
  };
  for (const entry of readdirSync(store)) {
    const modules = path.join(store, entry, 'node_modules');
    if (!existsSync(modules)) continue;
    for (const name of readdirSync(modules)) {
      const folder = path.join(modules, name);
      if (!name.startsWith('@')) read(folder);
      else for (const scoped of readdirSync(folder)) read(path.join(folder, scoped));
    }
  }
  return [...manifests.values()];
};

test('every installed dependency has a licence that users can accept', () => {
  const foreign = installedManifests().filter(({ name }) => !name.startsWith('@tidemark/'));
  expect(foreign.length).toBeGreaterThan(50);
  const refused = foreign
    .map((manifest) => ({ name: manifest.name, licence: textOfLicence(manifest) }))
    .filter(({ name, licence }) => !isAccepted(licence) && !isToolOnly(name, licence));
  expect(refused).toEqual([]);
});
