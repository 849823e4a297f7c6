// `npm run bench [-- arguments]`: build, then bench/main.ts as compiled.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { build, install, node, root } from './steps.mjs';

const main = path.join(root, 'bench/dist/main.js');
let { code } = install();
if (code === 0) ({ code } = await build());
if (code === 0 && !existsSync(main)) {
  console.error('bench/main.ts is missing: there is nothing to measure.');
  code = 1;
}
if (code === 0) ({ code } = await node([main, ...process.argv.slice(2)]));
process.exitCode = code;
