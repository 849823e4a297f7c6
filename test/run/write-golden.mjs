// Writes the golden files that do not exist yet, from test/integration/golden-contents.ts. A file that
// exists is never written again: it stands for data that users have. A new format gets a new folder.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { install, root } from './steps.mjs';

const { code } = install();
if (code !== 0) process.exit(code);
const folder = path.join(root, 'test/golden/v1');
const work = mkdtempSync(path.join(tmpdir(), 'tidemark-golden-'));
try {
  const outfile = path.join(work, 'contents.mjs');
  await build({
    entryPoints: [path.join(root, 'test/integration/golden-contents.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    conditions: ['@tidemark/source'],
    logLevel: 'warning',
  });
  const { goldenFiles } = await import(pathToFileURL(outfile).href);
  mkdirSync(folder, { recursive: true });
  for (const { name, encode } of goldenFiles) {
    try {
      writeFileSync(path.join(folder, `${name}.bin`), encode(), { flag: 'wx' });
      console.log(`wrote ${name}.bin`);
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
