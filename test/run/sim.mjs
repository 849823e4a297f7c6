// `npm run sim -- --seed N` and `npm run sim -- --seeds COUNT [--from FIRST] --json`: the simulator in one
// file, made from the sources, so that nothing needs to be built before.
import { spawnSync } from 'node:child_process';
import { bundleSimulation } from './sim-bundle.mjs';

const { file } = await bundleSimulation();
const { status } = spawnSync(process.execPath, [file, ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
