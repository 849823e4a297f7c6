// `npm run bench:peers [-- PEER...] [--records N] [--runs R] [--json] [--save]`: Tidemark and published engines on the same
// workloads, each engine installed by npm at a pinned version into a folder of its own under node_modules/.cache/tidemark/peers. No part
// of the tests. An engine that cannot be installed is skipped, and the reason is told.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findNatsServer, startNatsServer } from './nats-server.mjs';
import { build, install, node, root } from './steps.mjs';

const cache = path.join(root, 'node_modules/.cache/tidemark/peers');
/** better-sqlite3 is compiled where npm has no binary for the machine. */
const installMsMax = 600_000;
const shownCharacters = 300;

/** Engines by the name that the bench knows them by, with everything that they need. */
const rivals = {
  watermelondb: { '@nozbe/watermelondb': '0.28.0', 'better-sqlite3': '12.11.1' },
  pouchdb: { pouchdb: '9.0.0', express: '4.21.2', 'express-pouchdb': '4.2.0' },
  rxdb: {
    rxdb: '17.6.0',
    'rxdb-server': '15.22.0',
    rxjs: '7.8.2',
    express: '4.21.2',
    // rxdb-server needs it and does not say so.
    cors: '2.8.6',
  },
};

/** Installs an engine; returns why it could not be, or undefined. */
const installRival = (name, dependencies) => {
  const folder = path.join(cache, name);
  const wanted = `${JSON.stringify({ name: `peer-${name}`, private: true, dependencies }, null, 2)}\n`;
  const file = path.join(folder, 'package.json');
  const done = path.join(folder, 'installed.json');
  if (existsSync(done) && readFileSync(done, 'utf8') === wanted) return undefined;
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, wanted);
  console.error(`Installing ${name}...`);
  const windows = process.platform === 'win32';
  const { status, stderr, error } = spawnSync(
    windows ? 'npm.cmd' : 'npm',
    ['install', '--no-audit', '--no-fund', '--loglevel=error'],
    { cwd: folder, encoding: 'utf8', shell: windows, timeout: installMsMax },
  );
  if (status === 0) {
    writeFileSync(done, wanted);
    return undefined;
  }
  const why = error?.message ?? stderr.trim().replaceAll(/\s+/g, ' ').slice(-shownCharacters);
  return `npm could not install it: ${why}`;
};

const run = async () => {
  const installed = install();
  if (installed.code !== 0) return installed.code;
  const skipped = {};
  for (const [name, dependencies] of Object.entries(rivals)) {
    const why = installRival(name, dependencies);
    if (why !== undefined) skipped[name] = why;
  }
  const built = await build({ quiet: true }, ['bench']);
  if (built.code !== 0) {
    console.error(built.output);
    return built.code;
  }
  const found = findNatsServer({ say: (line) => console.error(line) });
  if (found.missing !== undefined) {
    console.error(found.missing);
    return 2;
  }
  const nats = await startNatsServer(found);
  try {
    const program = path.join(root, 'bench/dist/peers/main.js');
    const given = ['--folder', cache, '--nats', nats.url, '--nats-pid', String(nats.pid)];
    given.push('--nats-version', found.version);
    const missing = Object.entries(skipped).flatMap(([name, why]) => ['--skip', `${name}=${why}`]);
    return (await node([program, ...given, ...missing, ...process.argv.slice(2)])).code;
  } finally {
    await nats.stop();
  }
};

process.exitCode = await run();
