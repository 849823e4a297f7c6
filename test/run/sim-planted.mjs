// `npm run sim -- --planted [--seeds 200] [--from N] [--only TEXT] [--total-minutes M]`: plants each fault and runs
// seeds until one breaks, from the seed that is known to find it unless `--from` says otherwise. Prints one line
// per fault; the last line is JSON as that of a batch, with `plantedFound`, `missed` and `unfinished` as lists of names.
import { spawn } from 'node:child_process';
import { bundleSimulation } from './sim-bundle.mjs';
import { plants } from './sim-plants.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const seedsMax = Number(option('seeds', '200'));
const totalMs = Number(option('total-minutes', '600')) * 60_000;
const only = option('only', '');
const begun = performance.now();
const hourMs = 3_600_000;

const runBundle = (file, from, minutes) =>
  new Promise((resolve) => {
    const args = [file, '--seeds', String(seedsMax), '--from', String(from), '--json'];
    const child = spawn(
      process.execPath,
      [...args, '--minutes', String(minutes), '--until-broken'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk));
    child.on('close', () => resolve(output));
  });

const plantedFound = [];
const missed = [];
/** Faults for whose seeds the time was not enough: neither found nor missed. */
const unfinished = [];
let [seeds, faults, simulatedDays] = [0, 0, 0];
const chosen = plants.filter(({ name }) => name.includes(only));
for (const [at, { name, known, patches }] of chosen.entries()) {
  const leftMs = Math.max(0, totalMs - (performance.now() - begun));
  if (leftMs === 0) {
    unfinished.push(name);
    continue;
  }
  const { file } = await bundleSimulation({
    name: `plant-${plants.indexOf(chosen[at])}`,
    patches,
  });
  const minutes = leftMs / 60_000 / (chosen.length - at);
  const output = await runBundle(file, option('from', known), minutes);
  const broke = /^seed (\d+) broke: (.{0,110})/m.exec(output);
  const batch = JSON.parse(output.trimEnd().split('\n').pop() || '{}');
  seeds += batch.seeds;
  faults += batch.faults;
  simulatedDays += batch.simulatedDays;
  const where = broke !== null ? plantedFound : batch.seeds < seedsMax ? unfinished : missed;
  where.push(name);
  const told = broke === null ? `not found in ${batch.seeds} seeds` : `found by seed ${broke[1]}`;
  const how = broke === null ? '' : ` (${broke[2]})`;
  console.log(`${told}, begun at ${option('from', known)}: ${name}${how}`);
}
console.log(
  JSON.stringify({
    planted: chosen.length,
    seeds,
    violations: plantedFound.length,
    faults,
    simulatedDays: Math.round(simulatedDays * 10) / 10,
    seedsPerHour: Math.round((seeds / (performance.now() - begun)) * hourMs),
    sometimesMissing: [],
    plantedFound,
    missed,
    unfinished,
  }),
);
process.exitCode = missed.length === 0 ? 0 : 1;
