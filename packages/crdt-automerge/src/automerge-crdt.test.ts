import { createHash } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { concatBytes, fromHex, TidemarkError } from '@tidemark/model';
import type { CrdtKey, FieldCrdt } from '@tidemark/ports';
import { ulebBytes } from './byte-reader.js';
import { joinChanges, splitChanges } from './change-list.js';
import { loadAutomergeCrdt } from './index.js';

const hash = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const key: CrdtKey = { tenant: 'acme', table: 7, record: 'r1', field: 3 };
const actor = (n: number): Uint8Array => new Uint8Array(16).fill(n);

/** Change chunk with a right checksum around any content, as an attacker would build it. */
const forgedChunk = (type: number, content: Uint8Array, stored = content): Uint8Array => {
  const hashed = concatBytes([Uint8Array.of(1, ...ulebBytes(content.length)), content]);
  return concatBytes([
    Uint8Array.of(0x85, 0x6f, 0x4a, 0x83),
    hash(hashed).subarray(0, 4),
    Uint8Array.of(type, ...ulebBytes(stored.length)),
    stored,
  ]);
};

/** Content of a change that claims `rows` deletions in run-length encoded columns of a few bytes. */
const claimedRows = (dep: string, rows: number, startOp: number): Uint8Array => {
  const run: number[] = [];
  let rest = rows;
  while (rest >= 64) {
    run.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  run.push(rest);
  const columns: [number, number[]][] = [
    [0x01, [...run, 1]],
    [0x02, [...run, 1]],
    [0x13, [...run, 0]],
    [0x34, [0, ...ulebBytes(rows)]],
    [0x42, [...run, 1]],
    [0x56, [...run, 0]],
    [0x70, [...run, 0]],
  ];
  return Uint8Array.from([
    1,
    ...(fromHex(dep) ?? []),
    16,
    ...actor(9),
    1,
    ...ulebBytes(startOp),
    0,
    0,
    0,
    columns.length,
    ...columns.flatMap(([column, bytes]) => [column, bytes.length]),
    ...columns.flatMap(([, bytes]) => bytes),
  ]);
};

describe('crdt-automerge', () => {
  let crdt: FieldCrdt;
  let cold: () => Promise<FieldCrdt>;
  beforeAll(async () => {
    cold = () => loadAutomergeCrdt({ hash });
    crdt = await cold();
  });

  it('[CRD-1] two replicas build a byte-identical genesis; other keys or values build another', async () => {
    const again = await cold();
    const document = crdt.genesis(key, 'hello');
    expect(again.genesis(key, 'hello')).toEqual(document);
    expect(again.read(document)).toBe('hello');
    for (const other of [
      crdt.genesis({ ...key, record: 'r2' }, 'hello'),
      crdt.genesis({ ...key, tenant: 'b' }, 'hello'),
      crdt.genesis({ ...key, field: 4 }, 'hello'),
      crdt.genesis(key, 'hello!'),
    ]) {
      expect(crdt.heads(other)).not.toEqual(crdt.heads(document));
    }
    expect(crdt.read(crdt.genesis(key, ''))).toBe('');
  });

  it('[CRD-2] an edit by difference and an edit by splice give the text, and changes that replay it', () => {
    const start = crdt.genesis(key, 'hello world');
    const first = crdt.editText(start, 'hello brave world', actor(1), 5_999);
    const second = crdt.spliceText(first.document, 0, 5, 'Good 😀 day', actor(1), 7_000);
    expect(second.value).toBe('Good 😀 day brave world');
    const applied = crdt.apply(start, [first.changes, second.changes]);
    expect(applied).toMatchObject({ tag: 'applied', value: second.value });
    if (applied.tag !== 'applied') throw new Error('not applied');
    expect(crdt.heads(applied.document)).toEqual(crdt.heads(second.document));
  });

  it('[CRD-17] a long text gives way to another one as a whole, and keeps what others wrote elsewhere', () => {
    const head = 'Chapter one. ';
    const long = (word: string): string => `${word} `.repeat(3_000);
    const start = crdt.genesis(key, head + long('old'));
    const other = crdt.editText(start, `Title. ${head}${long('old')}`, actor(1), 1_000);
    const another = [...long('new')].map((unit, at) => (unit === ' ' ? `${at};` : unit)).join('');
    const rewritten = crdt.editText(start, head + another, actor(2), 1_000);
    const both = crdt.apply(start, [other.changes, rewritten.changes]);
    expect(both).toMatchObject({ tag: 'applied', value: `Title. ${head}${another}` });
  });

  it('[CRD-17] two authors change different words of one long text', () => {
    const lines = Array.from({ length: 2_000 }, (_, at) => `line ${at} is here\n`);
    const changed = (every: number, by: string): string =>
      lines.map((line, at) => (at % every === 7 ? line.replace('here', by) : line)).join('');
    const start = crdt.genesis(key, lines.join(''));
    const one = crdt.editText(start, changed(101, 'mine'), actor(1), 1_000);
    const merged = crdt.reexpress(
      one.document,
      lines.join(''),
      changed(103, 'yours'),
      actor(2),
      1_000,
    );
    const expected = lines
      .map((line, at) => (at % 103 === 7 ? line.replace('here', 'yours') : line))
      .map((line, at) => (at % 101 === 7 && at % 103 !== 7 ? line.replace('here', 'mine') : line));
    // Line 7 was changed by both: which word is first there follows from the actors.
    expect(merged.value.split('\n').slice(8)).toEqual(expected.join('').split('\n').slice(8));
    expect(merged.value).toMatch(/line 7 is (mineyours|yoursmine)\n/);
  });

  it('[CRD-2] equal arguments give equal bytes, with documents in memory or not', async () => {
    const run = (on: () => FieldCrdt): Uint8Array[] => {
      const start = on().genesis(key, 'hello');
      const a = on().editText(start, 'hello a', actor(1), 1_000);
      const b = on().editText(a.document, 'b hello a', actor(1), 2_000);
      const c = on().editText(start, 'hello c', actor(2), 1_000);
      const merged = on().apply(b.document, [c.changes]);
      return merged.tag === 'applied' ? [a.changes, b.document, merged.document] : [];
    };
    const fresh = await Promise.all(Array.from({ length: 5 }, () => cold()));
    const warm = run(() => crdt);
    expect(warm).toHaveLength(3);
    expect(run(() => fresh.pop() as FieldCrdt)).toEqual(warm);
  });

  it('[CRD-2] an edit to the same text makes no change', () => {
    const start = crdt.genesis(key, 'same');
    expect(crdt.editText(start, 'same', actor(1), 0).changes).toHaveLength(0);
  });

  it('[CRD-3] refuses texts that cannot be stored and splices outside the text', () => {
    const start = crdt.genesis(key, 'a😀b');
    const long = 'x'.repeat(1024 * 1024 + 1);
    expect(() => crdt.editText(start, 'a\ud800', actor(1), 0)).toThrow(TidemarkError);
    expect(() => crdt.editText(start, long, actor(1), 0)).toThrow(/invalid-value/);
    expect(() => crdt.spliceText(start, 2, 1, '', actor(1), 0)).toThrow(/invalid-value/);
    expect(() => crdt.spliceText(start, 3, 2, '', actor(1), 0)).toThrow(/invalid-value/);
    expect(() => crdt.spliceText(start, -1, 0, 'x', actor(1), 0)).toThrow(/invalid-value/);
    expect(() => crdt.genesis(key, '\udc00')).toThrow(/invalid-value/);
  });

  it('[CRD-4] two devices type 1,000 edits each into a value without document: both texts survive', () => {
    const typed = (n: number, word: string) => {
      let document = crdt.genesis(key, 'note:');
      const runs: Uint8Array[] = [];
      for (let i = 0; i < 1_000; i += 1) {
        const at = n === 1 ? i : crdt.read(document).length;
        const edit = crdt.spliceText(document, at, 0, word[i % word.length] ?? '', actor(n), i);
        document = edit.document;
        runs.push(edit.changes);
      }
      return { document, runs };
    };
    const a = typed(1, 'first ');
    const b = typed(2, 'two ');
    const ab = crdt.apply(a.document, b.runs);
    const ba = crdt.apply(b.document, a.runs);
    if (ab.tag !== 'applied' || ba.tag !== 'applied') throw new Error('not applied');
    expect(ab.value).toBe(ba.value);
    expect(ab.value).toBe(`${'first '.repeat(167).slice(0, 1_000)}note:${'two '.repeat(250)}`);
    expect(crdt.heads(ab.document)).toEqual(crdt.heads(ba.document));
  }, 60_000);

  it('[CRD-5] changes of a document carry its genesis and rebuild it from nothing', () => {
    const edited = crdt.editText(crdt.genesis(key, 'hello'), 'hello you', actor(1), 0);
    const rebuilt = crdt.apply(null, [crdt.changesOf(edited.document)]);
    if (rebuilt.tag !== 'applied') throw new Error('not applied');
    expect(rebuilt.value).toBe('hello you');
    expect(crdt.heads(rebuilt.document)).toEqual(crdt.heads(edited.document));
  });

  it('[CRD-6] known changes are no-ops: the document comes back as it was', () => {
    const edited = crdt.editText(crdt.genesis(key, 'hello'), 'hello you', actor(1), 0);
    const again = crdt.apply(edited.document, [edited.changes, crdt.changesOf(edited.document)]);
    expect(again).toEqual({ tag: 'applied', document: edited.document, value: 'hello you' });
  });

  it('[CRD-7] missing dependencies are told and nothing is queued in the document', () => {
    const start = crdt.genesis(key, 'hello');
    const first = crdt.editText(start, 'hello 1', actor(1), 0);
    const second = crdt.editText(first.document, 'hello 12', actor(1), 0);
    expect(crdt.apply(start, [second.changes])).toEqual({ tag: 'missing-dependencies' });
    expect(crdt.apply(null, [second.changes])).toEqual({ tag: 'missing-dependencies' });
    expect(crdt.apply(null, [])).toEqual({ tag: 'missing-dependencies' });
    expect(crdt.apply(start, [first.changes])).toMatchObject({ tag: 'applied', value: 'hello 1' });
  });

  it('[CRD-8] another genesis is told, also one of the same actor', () => {
    const start = crdt.genesis(key, 'hello');
    const other = crdt.editText(crdt.genesis(key, 'bye'), 'bye you', actor(1), 0);
    expect(crdt.apply(start, [crdt.changesOf(other.document)])).toEqual({ tag: 'other-genesis' });
  });

  it('[CRD-9] re-express keeps the edits of both sides', () => {
    const server = crdt.editText(crdt.genesis(key, 'milk, bread'), 'milk, bread, tea', actor(1), 0);
    const device = crdt.editText(
      crdt.genesis({ ...key, record: 'x' }, 'milk, bread'),
      'oat milk, bread',
      actor(2),
      0,
    );
    const difference = crdt.textDifference(null, [crdt.changesOf(device.document)]);
    if (difference.tag !== 'difference') throw new Error(difference.tag);
    expect(difference).toMatchObject({ before: 'milk, bread', after: 'oat milk, bread' });
    const { before, after, side } = difference;
    const merged = crdt.reexpress(server.document, before, after, actor(3), 4_000);
    expect(merged.value).toBe('oat milk, bread, tea');
    expect(crdt.apply(server.document, [merged.changes])).toMatchObject({ value: merged.value });
    const later = crdt.editText(device.document, 'oat milk, rye bread', actor(2), 0);
    expect(crdt.textDifference(side, [later.changes])).toMatchObject({
      tag: 'difference',
      before: 'oat milk, bread',
      after: 'oat milk, rye bread',
    });
  });

  it('[CRD-10] truncated bytes, flipped bytes and chunks of documents are undecodable', () => {
    const start = crdt.genesis(key, 'hello');
    const { changes, document } = crdt.editText(start, 'hello you', actor(1), 0);
    for (let length = 1; length < changes.length; length += 1) {
      expect(crdt.apply(start, [changes.subarray(0, length)]).tag).toBe('undecodable');
    }
    for (let at = 0; at < changes.length; at += 1) {
      const flipped = Uint8Array.from(changes);
      flipped[at] = (flipped[at] ?? 0) ^ 0x41;
      expect(crdt.apply(start, [flipped]).tag).toBe('undecodable');
    }
    expect(crdt.apply(start, [joinChanges([document])])).toEqual({
      tag: 'undecodable',
      reason: 'not a chunk of a change',
    });
    expect(() => crdt.read(changes)).toThrow(/malformed-message/);
    expect(() => crdt.read(document.subarray(0, 40))).toThrow(/malformed-message/);
    expect(() => crdt.read(concatBytes([document, document]))).toThrow(/malformed-message/);
    expect(crdt.read(start)).toBe('hello');
  });

  it('[CRD-11] a deflated change is inflated under a bound: a bomb of 50 MB is refused', () => {
    const start = crdt.genesis(key, 'hello');
    const zeros = new Uint8Array(50_000_000);
    const bomb = forgedChunk(2, zeros, deflateRawSync(zeros));
    expect(bomb.length).toBeLessThan(60_000);
    expect(crdt.apply(start, [joinChanges([bomb])])).toEqual({
      tag: 'undecodable',
      reason: 'a change inflates over the bound',
    });
  });

  it('[CRD-11] a large edit travels deflated and applies', () => {
    const start = crdt.genesis(key, 'hello');
    const text = 'hello '.repeat(2_000);
    const { changes } = crdt.editText(start, text, actor(1), 0);
    expect(splitChanges(changes)[0]?.[8]).toBe(2);
    expect(changes.length).toBeLessThan(1_000);
    expect(crdt.apply(start, [changes])).toMatchObject({ tag: 'applied', value: text });
  });

  it('[CRD-12] operations are counted from run lengths before Automerge sees a change', async () => {
    const start = crdt.genesis(key, 'hello');
    const dep = crdt.heads(start)[0] ?? '';
    const run = (rows: number, startOp = 7): Uint8Array =>
      joinChanges([forgedChunk(1, claimedRows(dep, rows, startOp))]);
    for (const rows of [10_000_000, 4_000_000_000]) {
      expect(run(rows).length).toBeLessThan(160);
      expect(crdt.apply(start, [run(rows)])).toEqual({
        tag: 'undecodable',
        reason: 'too many operations in a change',
      });
    }
    const small = await loadAutomergeCrdt({ hash, limits: { documentOperationsMax: 40 } });
    const edit = crdt.editText(start, 'x'.repeat(40), actor(1), 0);
    expect(small.apply(start, [edit.changes]).tag).toBe('undecodable');
    expect(() => small.editText(start, 'x'.repeat(40), actor(1), 0)).toThrow(/record-too-large/);
  });

  it('[CRD-13] a change numbered against its dependencies is refused', () => {
    const start = crdt.genesis(key, 'hello');
    const dep = crdt.heads(start)[0] ?? '';
    for (const startOp of [1, 6, 8, 2_147_483_646, 4_294_967_294]) {
      const run = joinChanges([forgedChunk(1, claimedRows(dep, 2, startOp))]);
      expect(crdt.apply(start, [run])).toEqual({
        tag: 'undecodable',
        reason: 'first operation misnumbered',
      });
    }
  });

  it('[CRD-14] documents in memory are bounded and freed ones load again', async () => {
    const small = await loadAutomergeCrdt({
      hash,
      limits: { loadedDocumentsMax: 2, loadedOperationsMax: 30 },
    });
    const documents = Array.from({ length: 10 }, (_, i) => small.genesis(key, `text ${i}`));
    documents.forEach((document, i) => expect(small.read(document)).toBe(`text ${i}`));
    const long = small.genesis(key, 'y'.repeat(100));
    const edited = small.editText(long, 'z', actor(1), 0);
    expect(small.apply(long, [edited.changes])).toMatchObject({ tag: 'applied', value: 'z' });
  });
});
