import { concatBytes } from '@tidemark/model';
import type { FieldCrdt } from '@tidemark/ports';
import { SeededRandom } from '../convergence/seeded-random.js';
import { crypto } from '../convergence/memory-parts.js';
import { coded, refused, taken, type Core, type FuzzTarget, type Sample } from './target.js';

const key = { tenant: 'acme', table: 1, record: 'r', field: 2 };
const samplesPerTarget = 8;
const words = [
  'x',
  ' ',
  'longer words ',
  '\u{1f600}',
  'e\u0301',
  '\n'.repeat(40),
  'abc'.repeat(500),
];

const uleb = (value: number): Uint8Array => {
  const out: number[] = [];
  let rest = value;
  do {
    out.push((rest % 128) | (rest >= 128 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Uint8Array.from(out);
};

const readUleb = (bytes: Uint8Array, from: number): readonly [value: number, next: number] => {
  let value = 0;
  for (let at = from, scale = 1; ; at += 1, scale *= 128) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return [value, at + 1];
  }
};

const u32 = (value: number): Uint8Array => {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
};

/** The content of a chunk at `at` with its length: what changes inside gets a checksum that fits. */
const contentCore = (run: Uint8Array, at: number, lengthBytes: 0 | 4): Core => {
  const start = at + lengthBytes;
  const chunkEnd =
    lengthBytes === 0
      ? run.length
      : start + new DataView(run.buffer, run.byteOffset + at).getUint32(0);
  const type = run[start + 8] ?? 0;
  const [length, from] = readUleb(run, start + 9);
  return {
    bytes: run.slice(from, from + length),
    dress: (core) => {
      const body = concatBytes([Uint8Array.of(type), uleb(core.length), core]);
      const chunk = concatBytes([
        run.slice(start, start + 4),
        crypto.sha256(body).subarray(0, 4),
        body,
      ]);
      const head = lengthBytes === 0 ? new Uint8Array(0) : u32(chunk.length);
      return concatBytes([run.slice(0, at), head, chunk, run.slice(chunkEnd)]);
    },
  };
};

const runSample = (run: Uint8Array): Sample => {
  const cores: Core[] = [];
  const view = new DataView(run.buffer, run.byteOffset, run.byteLength);
  for (let at = 0; at < run.length; at += 4 + view.getUint32(at))
    cores.push(contentCore(run, at, 4));
  return { bytes: run, cores };
};

/** Documents of one field with the changes that led to each: all begin at the same genesis. */
const written = (
  crdt: FieldCrdt,
  seed: number,
): readonly { readonly document: Uint8Array; readonly changes: Uint8Array }[] => {
  const random = new SeededRandom(seed);
  let document = crdt.genesis(key, 'begin');
  const out: { document: Uint8Array; changes: Uint8Array }[] = [];
  for (let i = 0; i < samplesPerTarget; i += 1) {
    // By characters: half a pair is no text.
    const text = [...crdt.read(document)];
    text.splice(random.below(text.length + 1), random.below(4), random.pick(words));
    const actor = new Uint8Array(16).fill(i);
    const edit = crdt.editText(document, text.join(''), actor, 1_000 + i);
    document = edit.document;
    out.push(edit);
  }
  return out;
};

/** Decoders of CRDT bytes: changes from devices, and documents as rows hold them. */
export const crdtTargets = (crdt: FieldCrdt): readonly FuzzTarget[] => {
  const genesis = crdt.genesis(key, 'begin');
  return [
    {
      name: 'crdt-changes',
      samples: (seed) => {
        const edits = written(crdt, seed);
        return [
          runSample(edits[0]?.changes ?? new Uint8Array(0)),
          ...edits.map(({ document }) => runSample(crdt.changesOf(document))),
        ];
      },
      read: (bytes) => {
        const applied = crdt.apply(genesis, [bytes]);
        if (applied.tag === 'undecodable')
          return refused(`undecodable: ${applied.reason.replace(/\d+/g, 'n')}`);
        if (applied.tag !== 'applied') return refused(applied.tag);
        const value = crdt.read(applied.document);
        if (value !== applied.value) throw new Error('the value is not that of the document');
        return taken;
      },
    },
    {
      name: 'crdt-document',
      samples: (seed) =>
        written(crdt, seed).map(({ document }) => {
          const whole = crdt.compact(document);
          return { bytes: whole, cores: [contentCore(whole, 0, 0)] };
        }),
      read: (bytes) =>
        coded(() => {
          crdt.read(bytes);
          crdt.heads(bytes);
          crdt.compact(bytes);
        }),
    },
  ];
};
