// `npm run test:packages [-- --quick] [-- --json] [-- --keep]`: the packages as users get them. `--quick` takes this
// Node only and leaves out attw, bundlers and the testkit; `--json` prints the result as JSON, progress to stderr;
// `--keep` leaves the folder in which it installed.
import { checkPackages } from './packages.mjs';
import { conclude, install, seconds } from './steps.mjs';

const quick = process.argv.includes('--quick');
const keep = process.argv.includes('--keep');
const json = process.argv.includes('--json');
const started = performance.now();

const { code } = install();
const result =
  code === 0
    ? await checkPackages({ quick, keep, say: json ? console.error : console.log })
    : { passed: 0, failures: ['install'], skipped: [], packages: [] };
if (json) {
  console.log(JSON.stringify(result, null, 2));
  process.exitCode = result.failures.length === 0 && result.passed > 0 ? 0 : 1;
} else {
  console.log(`\ntotal ${seconds(performance.now() - started)}`);
  conclude(result);
}
