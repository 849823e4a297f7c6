// `npm start [-- --nats]`: install, build, run the demonstration; the times are printed apart. With
// `--nats` two servers follow one stream of a real nats-server, and devices reach them through it.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { findNatsServer, startNatsServer } from './nats-server.mjs';
import { build, install, node, root, seconds } from './steps.mjs';

const demonstration = path.join(root, 'test/demo/dist/main.js');
const times = [];
const timed = async (name, step) => {
  const started = performance.now();
  const { code } = await step();
  times.push(`${name} ${seconds(performance.now() - started)}`);
  return code;
};

/** Runs the demonstration, over a nats-server of its own if that is asked for. */
const demonstrate = async () => {
  const args = process.argv.slice(2).filter((arg) => arg !== '--nats');
  if (!process.argv.includes('--nats')) return node([demonstration, ...args]);
  const found = findNatsServer({ say: (line) => console.error(line) });
  if (found.missing !== undefined) {
    console.error(found.missing);
    return { code: 2 };
  }
  console.log(`nats-server ${found.version} (${found.source})`);
  const nats = await startNatsServer(found);
  try {
    return await node([demonstration, '--nats', nats.url, ...args]);
  } finally {
    await nats.stop();
  }
};

const code =
  (await timed('install', () => install())) ||
  (await timed('build', build)) ||
  (await timed('demonstration', async () => {
    if (existsSync(demonstration)) return demonstrate();
    console.error('test/demo/main.ts is missing: there is nothing to run.');
    return { code: 1 };
  }));
console.log(`\ntimes: ${times.join(', ')}`);
process.exitCode = code;
