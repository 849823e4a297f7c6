// `npm run bench [-- name [arguments]]`: build, then the benchmark of that name, or each in turn.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { build, install, node, root } from './steps.mjs';

const names = readdirSync(path.join(root, 'bench'))
  .filter((file) => file.endsWith('.ts'))
  .map((file) => path.basename(file, '.ts'))
  .sort();
const [wanted, ...args] = process.argv.slice(2);

if (wanted !== undefined && !names.includes(wanted)) {
  console.error(`There is no benchmark ${wanted}: give one of ${names.join(', ')}.`);
  process.exitCode = 2;
} else {
  let { code } = install();
  if (code === 0) ({ code } = await build());
  for (const name of wanted === undefined ? names : [wanted]) {
    if (code !== 0) break;
    console.log(`\n== ${name}`);
    ({ code } = await node([path.join(root, 'bench/dist', `${name}.js`), ...args]));
  }
  process.exitCode = code;
}
