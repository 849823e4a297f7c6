// `npm start`: install, build, run the demonstration; the times are printed apart.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { build, install, node, root, seconds } from './steps.mjs';

const demonstration = path.join(root, 'test/demo/dist/main.js');
const times = [];
const timed = async (name, step) => {
  const started = performance.now();
  const { code } = await step();
  times.push(`${name} ${seconds(performance.now() - started)}`);
  return code;
};

const code =
  (await timed('install', () => install())) ||
  (await timed('build', build)) ||
  (await timed('demonstration', async () => {
    if (existsSync(demonstration)) return node([demonstration, ...process.argv.slice(2)]);
    console.error('test/demo/main.ts is missing: there is nothing to run.');
    return { code: 1 };
  }));
console.log(`\ntimes: ${times.join(', ')}`);
process.exitCode = code;
