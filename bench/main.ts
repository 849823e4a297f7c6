// `npm run bench -- [SUITE...] [--records N] [--runs N] [--json] [--check | --save]`: the suites, each case beside its
// floor. Only ratios are compared: times of another machine say nothing.
import { compareWithBaseline, saveBaseline } from './harness/baseline.js';
import { readOptions } from './harness/options.js';
import { printResult } from './harness/result.js';
import { Bench, type Suite } from './harness/suite.js';
import { coldStart } from './suites/cold-start.js';
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
  text,
  slowNetwork,
];
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const complain = (line: string): void => void process.stderr.write(`${line}\n`);

const run = async (args: readonly string[]): Promise<number> => {
  const options = readOptions(args);
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
    const bench = new Bench(suite.name, options, (one) => {
      say(options.json ? JSON.stringify(one) : printResult(one));
    });
    await suite.run(bench);
    if (options.save) saveBaseline(suite.name, bench.results);
    const worse = options.check ? compareWithBaseline(suite.name, bench.results) : [];
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
