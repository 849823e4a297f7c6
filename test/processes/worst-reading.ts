import { readFileSync } from 'node:fs';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto } from '@tidemark/crypto-node';
import { decodeInputEntry } from '@tidemark/merger';
import {
  decodeCustomization,
  decodeEnvelope,
  decodeTransaction,
  openTransaction,
} from '@tidemark/model';
import { decodeMessage, decodePages } from '@tidemark/protocol';

/*
 * Reads the bytes of a file with one decoder and prints what came of it, the CPU time and the memory that it
 * took. One process reads once: its peak is that of the reading, and nothing of it was compiled before.
 */
const [file = '', decoder = ''] = process.argv.slice(2);

const { sha256 } = nodeCrypto;
const crdt = decoder === 'crdt' ? await loadAutomergeCrdt({ hash: sha256 }) : null;
const key = { tenant: 'acme', table: 1, record: 'r', field: 2 };
const genesis = crdt?.genesis(key, 'begin') ?? null;
const bytes = new Uint8Array(readFileSync(file));
// The customization arrives parsed; what its check takes is measured.
const json: unknown =
  decoder === 'customization' ? JSON.parse(Buffer.from(bytes).toString()) : null;

const outcome = (result: { readonly _tag: string; readonly left?: unknown }): string => {
  if (result._tag === 'Right') return 'taken';
  const { left } = result;
  return typeof left === 'string'
    ? left
    : ((left as { readonly code?: string }).code ?? 'problems');
};

const readers: Readonly<Record<string, () => string>> = {
  envelope: () => outcome(decodeEnvelope(bytes)),
  entry: () => outcome(decodeInputEntry(bytes)),
  message: () => outcome(decodeMessage('PullRequest', bytes)),
  transaction: () => outcome(decodeTransaction(bytes)),
  'stored-transaction': () => outcome(openTransaction(bytes, sha256)),
  pages: () => outcome(decodePages(bytes, sha256)),
  customization: () => outcome(decodeCustomization(json)),
  crdt: () => crdt?.apply(genesis, [bytes]).tag ?? '',
};
const read = readers[decoder];
if (read === undefined) throw new Error(`there is no decoder ${decoder}`);

const peakMb = (): number => process.resourceUsage().maxRSS / 1024;
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

// Peaks from before must not hide the reading's own.
(globalThis as { gc?: () => void }).gc?.();
const residentMb = process.memoryUsage().rss / 2 ** 20;
const [before, began] = [peakMb(), cpuMs()];
const beganMs = performance.now();
const said = read();
const ms = performance.now() - beganMs;
const cpu = cpuMs() - began;
const after = peakMb();
const grown =
  after > before ? after - residentMb : process.memoryUsage().rss / 2 ** 20 - residentMb;
console.log(JSON.stringify({ outcome: said, ms, cpuMs: cpu, mb: Math.max(0, grown) }));
