// `npm run sim`: the simulator in one file, made from the sources, so that nothing needs to be built before.
// The options are those of test/simulation/main.ts; `--planted` runs test/run/sim-planted.mjs instead, and
// `--jobs N` runs a batch in N processes at once (its last line is JSON).
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runBatches, simulatorArgs } from './sim-batch.mjs';
import { bundleSimulation } from './sim-bundle.mjs';

const args = process.argv.slice(2);

const runInJobs = async () => {
  const text = { type: 'string' };
  const { values } = parseArgs({
    args,
    options: { seeds: text, from: text, minutes: text, jobs: text, json: { type: 'boolean' } },
  });
  const { file } = await bundleSimulation();
  const numberOf = (name, least, otherwise) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isInteger(value) || value < least)
      throw new Error(
        `--${name} needs a whole number from ${least} on, not ${String(values[name])}`,
      );
    return value;
  };
  const result = await runBatches(file, {
    from: numberOf('from', 0, 1),
    count: numberOf('seeds', 1, 100),
    jobs: numberOf('jobs', 1, 1),
    ...(values.minutes === undefined ? {} : { minutes: values.minutes }),
    onLine: (line) => console.log(line),
  });
  console.log(JSON.stringify(result));
  return result.violations === 0 ? 0 : 1;
};

const runAlone = async () => {
  const isPlanted = args.includes('--planted');
  const file = isPlanted
    ? fileURLToPath(new URL('sim-planted.mjs', import.meta.url))
    : (await bundleSimulation()).file;
  const passed = args.filter((arg) => arg !== '--planted');
  return spawnSync(process.execPath, simulatorArgs(file, passed), { stdio: 'inherit' }).status ?? 1;
};

process.exitCode =
  args.includes('--jobs') && !args.includes('--planted') ? await runInJobs() : await runAlone();
