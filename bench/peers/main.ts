// Started by `npm run bench:peers`, which installs the engines: the same workloads on each, printed side by side.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { packageOf, peers } from './peers.js';
import type { PeerFacts } from './roles.js';
import { printPeers } from './table.js';
import { runPeer, type PeerResult } from './workloads.js';

const recordsDefault = 100_000;
const results = fileURLToPath(new URL('../../results/peers.json', import.meta.url));
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
  const unknown = positionals.filter((name) => !Object.hasOwn(peers, name));
  if (unknown.length > 0 || !Number.isSafeInteger(records) || records < 1) {
    complain(`Give engines among ${Object.keys(peers).join(', ')} and a whole --records.`);
    return 2;
  }
  const { folder = '', nats: natsUrl = '' } = values;
  const skipped: Record<string, string> = {};
  for (const text of values.skip ?? []) {
    const at = text.indexOf('=');
    skipped[text.slice(0, at)] = text.slice(at + 1);
  }
  const all: PeerResult[] = [];
  const facts: Record<string, PeerFacts> = {};
  for (const [peer, engine] of Object.entries(peers)) {
    if (Object.hasOwn(skipped, peer)) continue;
    if (positionals.length > 0 && !positionals.includes(peer)) continue;
    const installed = path.join(folder, peer);
    const name = packageOf[peer];
    const version = name === undefined ? ownVersion() : versionIn(installed, name);
    try {
      await runPeer({ peer, version, installed, natsUrl, records }, (result) => {
        all.push(result);
        if (values.json === true) say(JSON.stringify(result));
        else complain(`${peer}: ${result.workload} ${result.seconds} s`);
      });
      facts[peer] = engine.facts;
    } catch (cause) {
      // The others are measured all the same.
      skipped[peer] = cause instanceof Error ? cause.message.slice(0, 300) : String(cause);
    }
  }
  if (values.json === true) say(JSON.stringify({ facts, skipped }));
  else say(printPeers(all, facts, skipped));
  if (values.save === true)
    writeFileSync(results, `${JSON.stringify({ results: all, facts, skipped }, null, 2)}\n`);
  return all.every(({ verified }) => verified) ? 0 : 1;
};

process.exitCode = await run();
