// Started by `npm run bench:peers`, which installs the engines: the same workloads on each, printed side by side.
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { thisMachine } from '../harness/results-file.js';
import { packageOf, peers } from './peers.js';
import { joinRuns, savePeers } from './peers-file.js';
import type { PeerFacts } from './roles.js';
import { printPeers } from './table.js';
import { runPeer, type PeerResult } from './workloads.js';

const recordsDefault = 100_000;
const runsDefault = 3;
const runsMax = 100;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const complain = (line: string): void => void process.stderr.write(`${line}\n`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    folder: { type: 'string' },
    nats: { type: 'string' },
    'nats-pid': { type: 'string' },
    skip: { type: 'string', multiple: true },
    records: { type: 'string' },
    runs: { type: 'string' },
    'nats-version': { type: 'string' },
    json: { type: 'boolean' },
    save: { type: 'boolean' },
  },
});

const versionIn = (installed: string, name: string): string => {
  const file = path.join(installed, 'node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version;
};

const ownVersion = (): string => {
  const file = fileURLToPath(new URL('../../../packages/node/package.json', import.meta.url));
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version;
};

const run = async (): Promise<number> => {
  const records = Number((values.records ?? String(recordsDefault)).replaceAll('_', ''));
  const runs = Number(values.runs ?? runsDefault);
  const unknown = positionals.filter((name) => !Object.hasOwn(peers, name));
  const areWhole = Number.isSafeInteger(records) && records >= 1 && Number.isSafeInteger(runs);
  if (unknown.length > 0 || !areWhole || runs < 1 || runs > runsMax) {
    complain(
      `Give engines among ${Object.keys(peers).join(', ')}, a whole --records and --runs up to ${runsMax}.`,
    );
    return 2;
  }
  const { folder = '', nats: natsUrl = '' } = values;
  const skipped: Record<string, string> = {};
  for (const text of values.skip ?? []) {
    const at = text.indexOf('=');
    skipped[text.slice(0, at)] = text.slice(at + 1);
  }
  const measured: PeerResult[] = [];
  const facts: Record<string, PeerFacts> = {};
  let loadAverageMax = 0;
  // Engines take turns: what else the machine does befalls all of them.
  for (let turn = 1; turn <= runs; turn += 1)
    for (const [peer, engine] of Object.entries(peers)) {
      if (Object.hasOwn(skipped, peer)) continue;
      if (positionals.length > 0 && !positionals.includes(peer)) continue;
      const installed = path.join(folder, peer);
      const name = packageOf[peer];
      const version = name === undefined ? ownVersion() : versionIn(installed, name);
      try {
        await runPeer({ peer, version, installed, natsUrl, records }, (result) => {
          measured.push(result);
          loadAverageMax = Math.max(loadAverageMax, loadavg()[0] ?? 0);
          complain(`${turn}/${runs} ${peer}: ${result.workload} ${result.seconds} s`);
        });
        facts[peer] = engine.facts;
      } catch (cause) {
        // The others are measured all the same.
        skipped[peer] = cause instanceof Error ? cause.message.slice(0, 300) : String(cause);
      }
    }
  const all = joinRuns(measured);
  if (values.json === true) {
    for (const result of all) say(JSON.stringify(result));
    say(JSON.stringify({ facts, skipped }));
  } else say(printPeers(all, facts, skipped));
  if (values.save === true) {
    const machine = thisMachine(values['nats-version']);
    savePeers({
      machine: { ...machine, loadAverageMax: Number(loadAverageMax.toFixed(1)) },
      ...{ runs, results: all, facts, skipped },
    });
  }
  return all.every(({ verified }) => verified) ? 0 : 1;
};

process.exitCode = await run();
