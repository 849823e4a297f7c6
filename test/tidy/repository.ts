import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Full path of the repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

// Folders that tools write and Git ignores.
const generated = new Set(['node_modules', 'dist', 'coverage', '.git', '.tidemark-demo']);

/** Paths of all files below a folder, relative to the repository, with `/`, sorted. */
export const filesBelow = (folder: string, keep: (file: string) => boolean): string[] => {
  const full = path.join(root, folder);
  if (!existsSync(full)) return [];
  const found: string[] = [];
  for (const entry of readdirSync(full, { withFileTypes: true })) {
    if (generated.has(entry.name)) continue;
    const file = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...filesBelow(file, keep));
    else if (entry.isFile() && keep(file)) found.push(file);
  }
  return found.sort();
};

/** Text of a file named relative to the repository. */
export const textOf = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** Names of the workspace packages, sorted. */
export const packageNames = (): string[] =>
  readdirSync(path.join(root, 'packages'))
    .filter((name) => existsSync(path.join(root, 'packages', name, 'package.json')))
    .sort();

/** The part of a manifest that the checks read. */
export interface Manifest {
  readonly name: string;
  readonly license?: unknown;
  readonly licenses?: unknown;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Manifest of a folder named relative to the repository. */
export const manifestOf = (folder: string): Manifest =>
  JSON.parse(textOf(`${folder}/package.json`)) as Manifest;
