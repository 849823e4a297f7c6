import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { leftInPlace } from './program.js';

const bench = fileURLToPath(new URL('../../bench/', import.meta.url));
/** What only the page of results and the flights need. */
const unused = ['@observablehq/plot', 'linkedom', 'hyparquet', 'hyparquet-compressors'];

/** Bundles the benchmarks from the sources into a folder; resolves with the program. */
export const buildBench = async (folder: string): Promise<string> => {
  await build({
    entryPoints: [path.join(bench, 'main.ts'), path.join(bench, 'harness/actor-main.ts')],
    // Actors are found beside the program.
    entryNames: '[name]',
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    conditions: ['@tidemark/source'],
    external: unused,
    plugins: [leftInPlace],
    logLevel: 'warning',
  });
  await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }\n');
  return path.join(folder, 'main.js');
};

/** What a run of the benchmarks said. */
export interface BenchRun {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the benchmarks to their end. */
export const runBench = (program: string, args: readonly string[]): Promise<BenchRun> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });
