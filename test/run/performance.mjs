// `node test/run/performance.mjs`: writes docs/performance.md and its plots from bench/results/*.json.
import path from 'node:path';
import { build, install, node, program, root } from './steps.mjs';

const run = async () => {
  const installed = install();
  if (installed.code !== 0) return installed.code;
  const built = await build({ quiet: true }, ['bench']);
  if (built.code !== 0) {
    console.error(built.output);
    return built.code;
  }
  const written = await node([path.join(root, 'bench/dist/main.js'), '--report']);
  if (written.code !== 0) return written.code;
  return (
    await node([program('prettier'), '--log-level', 'warn', '--write', 'docs/performance.md'])
  ).code;
};

process.exitCode = await run();
