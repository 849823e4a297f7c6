// Batches of seeds in processes of their own: the simulator is one thread, a machine has several.
import { spawn } from 'node:child_process';

/**
 * Half of the copies that a young generation of the usual size costs are saved. What is compiled later, and with less
 * of other functions inside, costs a fifth less in all: the engine is much code, and a batch takes minutes.
 */
const v8Options = [
  '--min-semi-space-size=64',
  '--max-semi-space-size=64',
  '--interrupt-budget=400000',
  '--max-inlined-bytecode-size-cumulative=300',
];
const hourMs = 3_600_000;

/** Arguments of node for a bundle of the simulator. */
export const simulatorArgs = (file, args) => [...v8Options, file, ...args];

/** Runs a batch; resolves with its result and the lines before it. `onLine` is told each of those at once. */
export const runBatch = (file, args, onLine = () => undefined) =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, simulatorArgs(file, [...args, '--json']), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = [];
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop();
      for (const line of parts) {
        lines.push(line);
        if (!line.startsWith('{')) onLine(line);
      }
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const last = lines.pop() ?? '';
      if (last.startsWith('{')) resolve({ result: JSON.parse(last), lines });
      else reject(new Error(`a batch ended with ${code ?? signal} and no result`));
    });
  });

/** Runs neighbouring seeds in `jobs` processes; resolves with one result for all of them. */
export const runBatches = async (file, { from, count, minutes, jobs, onLine }) => {
  const begun = performance.now();
  const share = Math.ceil(count / jobs);
  const shares = [];
  for (let done = 0; done < count; done += share)
    shares.push(['--seeds', Math.min(share, count - done), '--from', from + done].map(String));
  const timed = minutes === undefined ? [] : ['--minutes', String(minutes)];
  const results = (
    await Promise.all(shares.map((args) => runBatch(file, [...args, ...timed], onLine)))
  ).map(({ result }) => result);
  const sum = (name) => results.reduce((total, one) => total + one[name], 0);
  const seeds = sum('seeds');
  return {
    seeds,
    violations: sum('violations'),
    faults: sum('faults'),
    simulatedDays: Math.round(sum('simulatedDays') * 10) / 10,
    seedsPerHour: Math.round((seeds / (performance.now() - begun)) * hourMs),
    // A case was met when any of the processes met it.
    sometimesMissing: results
      .map(({ sometimesMissing }) => sometimesMissing)
      .reduce((missing, one) => missing.filter((name) => one.includes(name))),
    plantedFound: [],
  };
};
