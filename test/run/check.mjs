import { checks, install, runChecks } from './steps.mjs';

const { code } = install();
const failed = code === 0 ? await runChecks(Object.keys(checks)) : ['install'];
console.log(failed.length === 0 ? 'all checks passed' : `failed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
