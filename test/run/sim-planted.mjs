// `npm run sim -- --planted [--seeds 200] [--from N] [--only TEXT] [--total-minutes M] [--jobs N]`: plants each fault and runs
// seeds until one breaks that holds without it, from the seed that is known to find it unless `--from` says otherwise. Prints one line
// per fault; the last line is JSON as that of a batch, with `plantedFound`, `missed` and `unfinished` as lists of names.
import { runBatch } from './sim-batch.mjs';
import { bundleSimulation } from './sim-bundle.mjs';
import { plants } from './sim-plants.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const seedsMax = Number(option('seeds', '200'));
const totalMs = Number(option('total-minutes', '600')) * 60_000;
const only = option('only', '');
const jobs = Math.max(1, Number(option('jobs', '1')));
const begun = performance.now();
const hourMs = 3_600_000;
/** Time that one seed may take, minutes. */
const seedMinutesMax = 5;

/** Seeds that a process of its own runs until one breaks. */
const runSeeds = async (file, from, count, minutes) => {
  const args = ['--seeds', count, '--from', from, '--minutes', minutes, '--until-broken'];
  return runBatch(file, args.map(String));
};

let plain;
const aloneBroken = new Map();
/** Whether a seed breaks without any fault planted: then it finds none. */
const breaksAlone = async (seed) => {
  plain ??= bundleSimulation();
  if (!aloneBroken.has(seed)) {
    const { result } = await runSeeds((await plain).file, seed, 1, seedMinutesMax);
    aloneBroken.set(seed, result.violations > 0);
  }
  return aloneBroken.get(seed);
};

const plantedFound = [];
const missed = [];
/** Faults for whose seeds the time was not enough: neither found nor missed. */
const unfinished = [];
let [seeds, faults, simulatedDays] = [0, 0, 0];
const chosen = plants.filter(({ name }) => name.includes(only));
const waiting = [...chosen];

const plant = async ({ name, known, patches }, minutesOf) => {
  const { file } = await bundleSimulation({
    name: `plant-${plants.findIndex((one) => one.name === name)}`,
    patches,
  });
  const endsAt = performance.now() + minutesOf() * 60_000;
  const first = Number(option('from', known));
  let from = first;
  let left = seedsMax;
  let broke = null;
  while (left > 0 && broke === null && performance.now() < endsAt) {
    const minutes = (endsAt - performance.now()) / 60_000;
    const { result, lines } = await runSeeds(file, from, left, minutes);
    seeds += result.seeds;
    faults += result.faults;
    simulatedDays += result.simulatedDays;
    from += result.seeds;
    left -= Math.max(1, result.seeds);
    broke = /^seed (\d+) broke: (.{0,110})/m.exec(lines.join('\n'));
    if (broke === null) break;
    if (await breaksAlone(Number(broke[1]))) broke = null;
  }
  const where = broke !== null ? plantedFound : left > 0 ? unfinished : missed;
  where.push(name);
  const told = broke === null ? `not found in ${from - first} seeds` : `found by seed ${broke[1]}`;
  const how = broke === null ? '' : ` (${broke[2]})`;
  console.log(`${told}, begun at ${first}: ${name}${how}`);
};

const plantWaiting = async () => {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const leftMs = () => Math.max(0, totalMs - (performance.now() - begun));
    // What is left of the time is shared by those that wait, this one included.
    const turns = Math.ceil((waiting.length + 1) / jobs);
    if (leftMs() === 0) unfinished.push(next.name);
    else
      await plant(next, () => leftMs() / 60_000 / turns).catch((cause) => {
        unfinished.push(next.name);
        console.log(`could not be planted: ${next.name} (${cause.message})`);
      });
  }
};
await Promise.all(Array.from({ length: jobs }, plantWaiting));
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
