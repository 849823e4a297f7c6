// `npm run sim`: the simulator in one file, made from the sources, so that nothing needs to be built before.
// The options are those of test/simulation/main.ts; `--planted` runs test/run/sim-planted.mjs instead.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bundleSimulation } from './sim-bundle.mjs';

/** Half of the copies that a young generation of the usual size costs are saved. */
const youngMegabytes = 64;

const args = process.argv.slice(2).filter((arg) => arg !== '--planted');
const isPlanted = args.length < process.argv.length - 2;
const file = isPlanted
  ? fileURLToPath(new URL('sim-planted.mjs', import.meta.url))
  : (await bundleSimulation()).file;
const { status } = spawnSync(
  process.execPath,
  [`--max-semi-space-size=${youngMegabytes}`, file, ...args],
  { stdio: 'inherit' },
);
process.exitCode = status ?? 1;
