// Writes the golden data folders of the format in force, once: folders that exist are never written again,
// for they stand for data that users have. A new format gets a new folder.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { install, root } from './steps.mjs';

const { code } = install();
if (code !== 0) process.exit(code);
const folder = path.join(root, 'test/golden/folders-v1');
if (existsSync(folder)) throw new Error(`${folder} exists: golden data is written once`);
const work = path.join(root, 'test/node_modules/.cache/tidemark-golden');
const outfile = path.join(work, 'golden-writer.mjs');
await build({
  entryPoints: [path.join(root, 'test/processes/golden-writer.ts')],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  conditions: ['@tidemark/source'],
  external: ['classic-level'],
  plugins: [
    {
      name: 'built-automerge',
      setup: ({ onResolve }) =>
        onResolve({ filter: /^@tidemark\/crdt-automerge$/ }, () => ({
          path: path.join(root, 'packages/crdt-automerge/dist/index.js'),
          external: true,
        })),
    },
  ],
  logLevel: 'warning',
});
try {
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync(process.execPath, [outfile, folder], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the folders could not be written');
  // LevelDB writes these anew at each opening; they hold no data.
  for (const file of readdirSync(folder, { recursive: true }))
    if (/(^|[\\/])(LOCK|LOG|LOG\.old)$/.test(file)) rmSync(path.join(folder, file));
  writeFileSync(path.join(folder, '.gitattributes'), '* -text binary\n');
  // The journal of LevelDB is data here, whatever the repository ignores elsewhere.
  writeFileSync(path.join(folder, '.gitignore'), '!*.log\n');
} catch (error) {
  rmSync(folder, { recursive: true, force: true });
  throw error;
} finally {
  rmSync(work, { recursive: true, force: true });
}
