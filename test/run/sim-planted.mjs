// `npm run sim -- --planted [--seeds 2000] [--from N] [--only TEXT] [--total-minutes M]`: plants each fault and runs seeds
// until one breaks, from the seed that is known to find it unless `--from` says otherwise. Prints one line per
// fault, and as the last line {planted, plantedFound, missed, unfinished} as JSON.
import { spawn } from 'node:child_process';
import { bundleSimulation } from './sim-bundle.mjs';
import { plants } from './sim-plants.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const seeds = Number(option('seeds', '2000'));
const totalMs = Number(option('total-minutes', '600')) * 60_000;
const only = option('only', '');
const begun = performance.now();

const runBundle = (file, from, minutes) =>
  new Promise((resolve) => {
    const args = [file, '--seeds', String(seeds), '--from', String(from)];
    const child = spawn(
      process.execPath,
      [...args, '--minutes', String(minutes), '--until-broken'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk));
    child.on('close', () => resolve(output));
  });

const found = [];
const missed = [];
/** Faults for whose seeds the time was not enough: neither found nor missed. */
const unfinished = [];
const chosen = plants.filter(({ name }) => name.includes(only));
for (const [at, { name, known, ...patch }] of chosen.entries()) {
  const { file } = await bundleSimulation({ name: `plant-${at}`, patches: [patch] });
  const leftMs = Math.max(0, totalMs - (performance.now() - begun));
  const minutes = leftMs / 60_000 / (chosen.length - at);
  const output = await runBundle(file, option('from', known), minutes);
  const broke = /^seed (\d+) broke: (.{0,110})/m.exec(output);
  const ran = Number(/^(\d+) seeds from/m.exec(output)?.[1] ?? 0);
  const where = broke !== null ? found : ran < seeds ? unfinished : missed;
  where.push(name);
  const told = broke === null ? `not found in ${ran} seeds` : `found by seed ${broke[1]}`;
  console.log(`${told}: ${name}${broke === null ? '' : ` (${broke[2]})`}`);
}
console.log(
  JSON.stringify({ planted: chosen.length, plantedFound: found.length, missed, unfinished }),
);
process.exitCode = missed.length === 0 ? 0 : 1;
