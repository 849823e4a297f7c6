import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';

const sources = fileURLToPath(new URL('.', import.meta.url));
const cache = fileURLToPath(new URL('../node_modules/.cache/tidemark/', import.meta.url));

/**
 * Native and wasm packages find their files beside themselves, and packages in the older module format
 * require built-ins as they run, so they stay where they are.
 */
export const leftInPlace: Plugin = {
  name: 'left-in-place',
  setup: ({ onResolve, resolve }) => {
    const filter =
      /^(classic-level|level|memory-level|@automerge\/automerge|@nats-io\/[a-z-]+|commander|prom-client)$/;
    onResolve({ filter }, async ({ path: name, kind, resolveDir, pluginData }) => {
      if (pluginData === 'asked') return undefined;
      const found = await resolve(name, { kind, resolveDir, pluginData: 'asked' });
      return { path: pathToFileURL(found.path).href, external: true };
    });
  },
};

/**
 * Bundles a program of this folder from the sources of the packages, so that a child process starts fast
 * and needs no build. Resolves with the path of its entry.
 */
export const buildProgram = async (name: string): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [path.join(sources, `${name}.ts`)],
    outdir: cache,
    write: false,
    bundle: true,
    // What is imported on demand, such as Automerge, stays on demand.
    splitting: true,
    format: 'esm',
    platform: 'node',
    conditions: ['@tidemark/source'],
    outExtension: { '.js': '.mjs' },
    plugins: [leftInPlace],
    logLevel: 'warning',
  });
  const hash = createHash('sha256');
  for (const { contents } of outputFiles) hash.update(contents);
  const folder = path.join(cache, `${name}-${hash.digest('hex').slice(0, 16)}`);
  const entry = path.join(folder, `${name}.mjs`);
  if (existsSync(entry)) return entry;
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(path.join(cache, 'building-'));
  for (const { path: file, contents } of outputFiles)
    writeFileSync(path.join(fresh, path.basename(file)), contents);
  try {
    renameSync(fresh, folder);
  } catch (error) {
    // Another worker was faster; the folder is named by its content.
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(entry)) throw error;
  }
  return entry;
};
