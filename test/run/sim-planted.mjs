// `npm run sim -- --planted [--seeds 200] [--from N] [--only TEXT] [--total-minutes M]`: plants each fault and runs
// seeds until one breaks that holds without it, from the seed that is known to find it unless `--from` says otherwise. Prints one line
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
/** Time that one seed may take, minutes. */
const seedMinutesMax = 5;

const runBundle = (file, from, count, minutes) =>
  new Promise((resolve) => {
    const args = [file, '--seeds', String(count), '--from', String(from), '--json'];
    const child = spawn(
      process.execPath,
      [...args, '--minutes', String(minutes), '--until-broken'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk));
    child.on('close', () => resolve(output));
  });

let plain;
const aloneBroken = new Map();
/** Whether a seed breaks without any fault planted: then it finds none. */
const breaksAlone = async (seed) => {
  plain ??= await bundleSimulation();
  if (!aloneBroken.has(seed)) {
    const output = await runBundle(plain.file, seed, 1, seedMinutesMax);
    aloneBroken.set(seed, / broke: /.test(output));
  }
  return aloneBroken.get(seed);
};

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
  const endsAt = performance.now() + leftMs / (chosen.length - at);
  let from = Number(option('from', known));
  let left = seedsMax;
  let ran = 0;
  let broke = null;
  while (left > 0 && broke === null && performance.now() < endsAt) {
    const output = await runBundle(file, from, left, (endsAt - performance.now()) / 60_000);
    const batch = JSON.parse(output.trimEnd().split('\n').pop() || '{}');
    ran += batch.seeds;
    faults += batch.faults;
    simulatedDays += batch.simulatedDays;
    from += batch.seeds;
    left -= Math.max(1, batch.seeds);
    broke = /^seed (\d+) broke: (.{0,110})/m.exec(output);
    if (broke === null) break;
    if (await breaksAlone(Number(broke[1]))) broke = null;
  }
  seeds += ran;
  const where = broke !== null ? plantedFound : left > 0 ? unfinished : missed;
  where.push(name);
  const told = broke === null ? `not found in ${ran} seeds` : `found by seed ${broke[1]}`;
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
