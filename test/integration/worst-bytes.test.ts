import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { concatBytes, encodeTransaction, storeTransaction, utf8Encode } from '@tidemark/model';
import { sketchTransaction } from '@tidemark/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { crypto } from '../convergence/memory-parts.js';
import { buildProgram } from '../processes/program.js';

const readMsMax = 100;
const readMbMax = 50;
/** Processes that read one input at most. */
const readsMax = 4;
const megabyte = 1024 * 1024;
const million = 1_000_000;

interface Said {
  readonly outcome: string;
  readonly ms: number;
  readonly cpuMs: number;
  readonly mb: number;
}

const u32 = (value: number): Uint8Array => {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
};
const uleb = (value: number): Uint8Array => {
  const out: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    out.push((rest % 128) | (rest >= 128 ? 128 : 0));
    if (rest < 128) return Uint8Array.from(out);
  }
};

const framed = (json: string): Uint8Array => {
  const text = utf8Encode(json);
  return concatBytes([Uint8Array.of(1), u32(text.length), text]);
};
const entry = (kind: number, json: string): Uint8Array =>
  concatBytes([Uint8Array.of(kind, 1), utf8Encode(json)]);
/** Run of one change chunk: `content` as it stands in the chunk, with the checksum of `inflated`. */
const changeRun = (type: number, content: Uint8Array, inflated: Uint8Array): Uint8Array => {
  const hashed = concatBytes([Uint8Array.of(1), uleb(inflated.length), inflated]);
  const chunk = concatBytes([
    Uint8Array.of(0x85, 0x6f, 0x4a, 0x83),
    crypto.sha256(hashed).subarray(0, 4),
    Uint8Array.of(type),
    uleb(content.length),
    content,
  ]);
  return concatBytes([u32(chunk.length), chunk]);
};
const inflating = (inflated: Uint8Array): Uint8Array =>
  changeRun(2, deflateRawSync(inflated, { level: 9 }), inflated);
const inTurn = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => i % 2);

/** Empty deflated blocks of the fixed code: ten bits each. */
const emptyFixedBlocks = (bytes: number): Uint8Array => {
  const out = new Uint8Array(bytes);
  const count = Math.floor((bytes * 8) / 10);
  for (let i = 0; i < count; i += 1) {
    const bits = i === count - 1 ? [0, 1] : [1];
    for (const bit of bits)
      out[(i * 10 + bit) >> 3] = (out[(i * 10 + bit) >> 3] ?? 0) | (1 << ((i * 10 + bit) & 7));
  }
  return out.subarray(0, (count * 10 + 7) >> 3);
};

/** Deflated blocks without a byte in them, each with a code of its own that has words of every length. */
const emptyBlocks = (bytes: number): Uint8Array => {
  const out = new Uint8Array(bytes + 64);
  let at = 0;
  const put = (value: number, bits: number): void => {
    for (let i = 0; i < bits; i += 1, at += 1)
      if (((value >> i) & 1) === 1) out[at >> 3] = (out[at >> 3] ?? 0) | (1 << (at & 7));
  };
  // A word of one bit tells up to 138 zeros, words of five bits, their first bit lowest, tell a length.
  const zeros = (count: number): void => {
    put(0, 1);
    put(count - 11, 7);
  };
  const length = (bits: number): void => {
    for (let i = 4; i >= 0; i -= 1) put((16 + bits) >> i, 1);
  };
  while (at < bytes * 8) {
    put(0b10_0, 3);
    put(15, 5);
    put(0, 5);
    put(15, 4);
    for (const told of [0, 0, 1]) put(told, 3);
    for (let i = 3; i < 19; i += 1) put(5, 3);
    zeros(138);
    zeros(118);
    for (let bits = 1; bits <= 15; bits += 1) length(bits);
    length(15);
    // No distance; then the end of the block.
    length(0);
    put(0, 1);
  }
  // The last block holds its end, too, and nothing else.
  put(0b01_1, 3);
  put(0, 7);
  return out.subarray(0, (at + 7) >> 3);
};
const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
const keys = (count: number): string =>
  `{${Array.from({ length: count }, (_, i) => `"k${i}":1`).join()}}`;
const fields = (count: number): string =>
  Array.from({ length: count }, (_, i) => `{"id":${i + 1},"name":"f${i}","type":"text"}`).join();
const customization = (table: string): string =>
  `{"format":1,"version":1,"tables":[{"id":1,"name":"t",${table},"rule":"manual","onDelete":"manual"}]}`;
const pullRequest = (scope: string): string =>
  `{"cursor":null,"tables":null,"scope":${scope},"seen":{"incarnation":1,"n":1},"maxBytes":1}`;
const gigabyte = u32(2 ** 30);
const whole = sketchTransaction([{ table: 1, record: 'r', kind: 'create' }]);
const payloadOf = (json: string): Uint8Array => utf8Encode(`[1,1,0,0,${json}]`);

const worst: readonly (readonly [
  what: string,
  decoder: string,
  outcome: string,
  () => Uint8Array,
])[] = [
  [
    '50 MB inflating from 49 kB',
    'crdt',
    'undecodable',
    () => inflating(new Uint8Array(50 * megabyte).fill(0x78)),
  ],
  [
    'as much as 4 kB may inflate to',
    'crdt',
    'undecodable',
    () => inflating(new Uint8Array(4 * megabyte).fill(0x78)),
  ],
  [
    'two bytes in turn, 16 MB of them',
    'crdt',
    'undecodable',
    () => inflating(inTurn(16 * megabyte)),
  ],
  ...([emptyBlocks, emptyFixedBlocks] as const).map(
    (blocksOf) =>
      [
        `190 kB of ${blocksOf === emptyBlocks ? 'empty blocks with codes of their own' : 'empty blocks'}`,
        'crdt',
        'undecodable',
        () => {
          const blocks = blocksOf(190_000);
          expect(inflateRawSync(blocks).length).toBe(0);
          return changeRun(2, blocks, new Uint8Array());
        },
      ] as const,
  ),
  [
    '100,000-deep JSON in a message',
    'message',
    'malformed-message',
    () => framed(pullRequest(deep(100_000))),
  ],
  [
    '100,000-deep JSON in an entry',
    'entry',
    'malformed',
    () => entry(4, `{"by":"x","json":${deep(100_000)}}`),
  ],
  [
    '100,000-deep JSON in a transaction',
    'transaction',
    'operation',
    () => payloadOf(deep(100_000)),
  ],
  [
    'a million keys in a message',
    'message',
    'malformed-message',
    () => framed(pullRequest(keys(million))),
  ],
  ['a million keys in an envelope', 'envelope', 'malformed', () => framed(keys(million))],
  [
    'a gigabyte claimed in an envelope',
    'envelope',
    'malformed',
    () => concatBytes([Uint8Array.of(1), gigabyte]),
  ],
  [
    'a gigabyte claimed in a message',
    'message',
    'malformed-message',
    () => concatBytes([Uint8Array.of(1), gigabyte]),
  ],
  [
    'a gigabyte claimed in pages',
    'pages',
    'malformed',
    () => concatBytes([gigabyte, new Uint8Array(64)]),
  ],
  [
    'a gigabyte claimed in a run of changes',
    'crdt',
    'undecodable',
    () => concatBytes([gigabyte, new Uint8Array(64)]),
  ],
  [
    'a gigabyte claimed in a transaction',
    'stored-transaction',
    'malformed',
    () => {
      const bytes = storeTransaction(1, new Uint8Array(16), encodeTransaction(whole));
      bytes.set(gigabyte, 4);
      return bytes;
    },
  ],
  [
    '50 MB of escapes in a message',
    'message',
    'malformed-message',
    () => framed(pullRequest(`"${'\\u0041'.repeat((50 * megabyte) / 6)}"`)),
  ],
  [
    'as many escapes as a message takes',
    'message',
    'taken',
    () => framed(pullRequest(`"${'\\u0041'.repeat(80_000)}"`)),
  ],
  [
    'a customization with a million fields',
    'customization',
    'problems',
    () => utf8Encode(customization(`"fields":[${fields(million)}],"indexes":[]`)),
  ],
  [
    'a customization with a million options',
    'customization',
    'problems',
    () =>
      utf8Encode(
        customization(
          `"fields":[{"id":1,"name":"a","type":"option","options":[${'"x",'.repeat(million)}"y"]}],"indexes":[]`,
        ),
      ),
  ],
];

let folder: string;
let program: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidemark-worst-'));
  program = await buildProgram('worst-reading');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const readIn = async (decoder: string, bytes: Uint8Array): Promise<Said> => {
  const file = path.join(folder, 'bytes');
  await writeFile(file, bytes);
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc',
    program,
    file,
    decoder,
  ]);
  return JSON.parse(stdout) as Said;
};

test.each(worst)(
  '[SYN-100] %s: refused in time and memory',
  async (what, decoder, outcome, bytes) => {
    const read = bytes();
    let said = await readIn(decoder, read);
    // Beside other work a process takes longer than it costs: the best of a few tells what it costs.
    for (let again = 1; again < readsMax && said.cpuMs >= readMsMax; again += 1)
      said = await readIn(decoder, read);
    process.stdout.write(
      `${what}: ${said.cpuMs.toFixed(1)} ms, ${said.mb.toFixed(1)} MB, ${said.outcome}\n`,
    );
    expect(said.outcome).toBe(outcome);
    expect(said.cpuMs).toBeLessThan(readMsMax);
    if (process.platform === 'linux') expect(said.mb).toBeLessThan(readMbMax);
  },
);
