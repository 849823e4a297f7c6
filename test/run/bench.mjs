// `npm run bench [-- SUITE...] [--case NAME] [--records N] [--runs N] [--data flights] [--json] [--out FILE]
// [--check | --save] [--profile] [--transport nats|local]`: install, build, then the suites of bench/, over a nats-server
// of its own unless `--transport local` is given.
import path from 'node:path';
import { fetchFlights } from './flights.mjs';
import { findNatsServer, startNatsServer } from './nats-server.mjs';
import { build, install, node, root } from './steps.mjs';

const args = process.argv.slice(2);
const at = args.indexOf('--transport');
const [, transport = 'nats'] = at === -1 ? [] : args.splice(at, 2);

/** Runs the suites over a nats-server that is started for them. */
const overNats = async (program) => {
  const found = findNatsServer({ say: (line) => console.error(line) });
  if (found.missing !== undefined) {
    console.error(`${found.missing}\nWithout it: --transport local`);
    return 2;
  }
  const nats = await startNatsServer(found);
  try {
    const given = ['--nats', nats.url, '--nats-pid', String(nats.pid)];
    return (await node([program, ...given, '--nats-version', found.version, ...args])).code;
  } finally {
    await nats.stop();
  }
};

const run = async () => {
  if (transport !== 'nats' && transport !== 'local') {
    console.error(`--transport is nats or local, not ${transport}`);
    return 2;
  }
  const installed = install();
  if (installed.code !== 0) return installed.code;
  const built = await build({ quiet: true }, ['bench']);
  if (built.code !== 0) {
    console.error(built.output);
    return built.code;
  }
  if (
    args.some(
      (arg, i) => arg === '--data=flights' || (arg === 'flights' && args[i - 1] === '--data'),
    )
  )
    fetchFlights();
  const program = path.join(root, 'bench/dist/main.js');
  return transport === 'nats' ? overNats(program) : (await node([program, ...args])).code;
};

process.exitCode = await run();
