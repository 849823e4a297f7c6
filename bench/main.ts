// `npm run bench -- [SUITE...] [--records N] [--runs N] [--json] [--check | --save]`: the suites, each case beside its
// floor. Only ratios are compared: times of another machine say nothing.
import path from 'node:path';
import { compareWithBaseline, saveBaseline } from './harness/baseline.js';
import { addResults, thisMachine } from './harness/results-file.js';
import { readOptions } from './harness/options.js';
import { printResult } from './harness/result.js';
import { Bench, type Suite } from './harness/suite.js';
import { coldStart } from './suites/cold-start.js';
import { devices } from './suites/devices.js';
import { fullSync } from './suites/full-sync.js';
import { incremental } from './suites/incremental.js';
import { localEdits } from './suites/local-edits.js';
import { slowNetwork } from './suites/slow-network.js';
import { text } from './suites/text.js';
import { uploadMerge } from './suites/upload-merge.js';

const suites: readonly Suite[] = [
  fullSync,
  uploadMerge,
  incremental,
  localEdits,
  coldStart,
  devices,
  text,
  slowNetwork,
];
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const complain = (line: string): void => void process.stderr.write(`${line}\n`);

const run = async (args: readonly string[]): Promise<number> => {
  const options = readOptions(args);
  if (options.report) {
    // The plotting library is loaded only for the page.
    const { writePerformancePage } = await import('./report/performance-page.js');
    say(`written: ${path.relative('.', writePerformancePage())}`);
    return 0;
  }
  const unknown = options.suites.filter((name) => !suites.some((suite) => suite.name === name));
  if (unknown.length > 0) {
    const names = suites.map(({ name }) => name).join(', ');
    complain(`There is no suite ${unknown.join(', ')}: give one of ${names}.`);
    return 2;
  }
  const wanted = suites.filter(
    ({ name }) => options.suites.length === 0 || options.suites.includes(name),
  );
  let code = 0;
  for (const suite of wanted) {
    const bench = new Bench(
      suite.name,
      options,
      (one) => {
        say(options.json ? JSON.stringify(one) : printResult(one));
        // Case by case: a long run that is ended leaves what it has.
        if (options.out !== undefined)
          addResults(options.out, thisMachine(options.natsVersion), [one]);
      },
      complain,
    );
    await suite.run(bench);
    if (options.save) saveBaseline(suite.name, bench.results, options.baselines);
    const worse = options.check
      ? compareWithBaseline(suite.name, bench.results, options.baselines)
      : [];
    for (const line of worse) complain(line);
    if (worse.length > 0 || bench.results.some(({ verified }) => !verified)) code = 1;
  }
  return code;
};

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (cause) {
  const isUsage = cause instanceof RangeError || cause instanceof TypeError;
  complain(
    cause instanceof Error ? ((isUsage ? cause.message : cause.stack) ?? '') : String(cause),
  );
  process.exitCode = isUsage ? 2 : 1;
}
