// Fetches the flights of `vega-datasets` by npm, once, into node_modules/.cache: a package of 17.6 MB is too much
// for everybody to install. Plain Node without dependencies.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { root } from './steps.mjs';

const wanted = 'vega-datasets@3.2.1';
const name = 'flights-3m.parquet';
const folder = path.join(root, 'node_modules/.cache/vega-datasets');

/** Makes the file be there; throws with what to do. */
export const fetchFlights = () => {
  const file = path.join(folder, name);
  if (existsSync(file)) return;
  mkdirSync(folder, { recursive: true });
  const fresh = mkdtempSync(path.join(folder, 'fetching-'));
  try {
    const windows = process.platform === 'win32';
    const options = { cwd: fresh, stdio: ['ignore', 'ignore', 'inherit'], shell: windows };
    const packed = spawnSync(windows ? 'npm.cmd' : 'npm', ['--silent', 'pack', wanted], options);
    const [archive] = readdirSync(fresh);
    if (packed.status !== 0 || archive === undefined)
      throw new Error(`npm could not fetch ${wanted}`);
    const inside = `package/data/${name}`;
    const unpacked = spawnSync('tar', ['-xzf', archive, inside], { ...options, shell: false });
    if (unpacked.status !== 0) throw new Error(`tar could not unpack ${archive}`);
    renameSync(path.join(fresh, inside), file);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
};
