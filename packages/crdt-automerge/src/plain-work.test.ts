import { createHash } from 'node:crypto';
import * as automerge from '@automerge/automerge';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CrdtKey, FieldCrdt } from '@tidemark/ports';
import { readChangeChunk, type ChangeChunk } from './change-chunk.js';
import { joinChanges } from './change-list.js';
import { splitDocument } from './document-bytes.js';
import { loadAutomergeCrdt } from './index.js';
import { KnownChanges } from './known-changes.js';
import { PlainDraft } from './plain-text.js';
import { runsPerBlockMax } from './run-block.js';
import { readStoredCharacters } from './stored-characters.js';

const hash = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const key: CrdtKey = { tenant: 'acme', table: 7, record: 'r1', field: 3 };
const actor = (n: number): Uint8Array => new Uint8Array(16).fill(n);
const applied = (crdt: FieldCrdt, document: Uint8Array, run: Uint8Array): Uint8Array => {
  const done = crdt.apply(document, [run]);
  if (done.tag !== 'applied') throw new Error(done.tag);
  return done.document;
};

/** Note of which every second character was deleted, saved, and changes that scatter insertions over it. */
const scattered = (crdt: FieldCrdt, characters: number, changes: number, insertions: number) => {
  const start = crdt.genesis(key, 'a'.repeat(characters));
  let doc = automerge.load<{ t: string }>(start, { actor: '22'.repeat(16) });
  doc = automerge.change(doc, { time: 0 }, (draft) => {
    for (let at = characters - 1; at > 0; at -= 2) automerge.splice(draft, ['t'], at, 1, '');
  });
  const saved = automerge.save(doc);
  const chunks: Uint8Array[] = [];
  for (let nth = 0, seed = 1; nth < changes; nth += 1) {
    doc = automerge.change(doc, { time: 0 }, (draft) => {
      for (let i = 0; i < insertions; i += 1) {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
        automerge.splice(draft, ['t'], seed % (characters / 2), 0, 'b');
      }
    });
    chunks.push(automerge.getLastLocalChange(doc) ?? new Uint8Array());
  }
  return { saved, chunks, text: doc.t };
};

describe('crdt-automerge', () => {
  let crdt: FieldCrdt;
  beforeAll(async () => {
    crdt = await loadAutomergeCrdt({ hash });
  });

  it('[CRD-15] a step looks at the blocks of a text and at few runs, and a change copies few blocks', () => {
    const { saved, chunks, text } = scattered(crdt, 8_000, 3, 100);
    const doc = automerge.load(saved);
    const backend = automerge.getBackend(doc);
    const stored = readStoredCharacters(backend.saveNoCompress(), 100_000);
    if (stored === undefined) throw new Error('the note is plain');
    const metas = backend.getChangesMeta([]);
    const last = metas[metas.length - 1];
    const base = {
      ...stored,
      changes: KnownChanges.of(metas),
      authors: new Map([[last?.actor ?? '', { seq: last?.seq ?? 0, maxOp: last?.maxOp ?? 0 }]]),
      heads: automerge.getHeads(doc),
    };
    const draft = new PlainDraft(base, { operations: 8_000, work: 0 }, 2 ** 40);
    const budget = { bytes: 1e7, operations: 1e6 };
    const changes = chunks.map((chunk): ChangeChunk => readChangeChunk(chunk, hash, budget));
    for (const change of changes) expect(draft.add(change)).toBe('added');
    const { blocks } = stored.characters;
    const runs = blocks.reduce((sum, block) => sum + block.runs.length, 0);
    expect(runs).toBeGreaterThan(7_900);
    // A search through all runs would look at about half of them, for each of the 300 insertions.
    expect(draft.visited).toBeLessThan(300 * (blocks.length + 4 * runsPerBlockMax));
    expect(draft.finish().characters.text).toBe(text);

    const [typed] = scattered(crdt, 8_000, 1, 1).chunks;
    if (typed === undefined) throw new Error('there is a change');
    const one = new PlainDraft(base, { operations: 8_000, work: 0 }, 2 ** 40);
    expect(one.add(readChangeChunk(typed, hash, budget))).toBe('added');
    const kept = one.finish().characters.blocks.filter((block) => blocks.includes(block)).length;
    expect(kept).toBe(blocks.length - 1);
    expect(stored.characters.text).toBe('a'.repeat(4_000));
  });

  it('[CRD-15] beyond the bound of work Automerge applies the changes and the document is saved, warm or cold', async () => {
    const { saved, chunks } = scattered(crdt, 1_000, 12, 20);
    // Two changes take 20 times some 1,000 operations each; a third is too much.
    const limits = { plainWorkMax: 50_000 };
    const warm = await loadAutomergeCrdt({ hash, limits });
    let document = saved;
    const lengths = new Set<number>();
    for (const chunk of chunks) {
      const cold = await loadAutomergeCrdt({ hash, limits });
      const run = joinChanges([chunk]);
      const next = applied(warm, document, run);
      expect(applied(cold, document.slice(), run)).toEqual(next);
      expect(crdt.read(next)).toBe(warm.read(next));
      document = next;
      lengths.add(splitDocument(document).since.length);
    }
    expect([...lengths].sort((a, b) => a - b)).toEqual([0, 1, 2]);
    // All in one call take too much as well: the bound is that of the call.
    const whole = applied(warm, saved, joinChanges(chunks));
    expect(splitDocument(whole).since).toHaveLength(0);
    expect(warm.read(whole)).toBe(warm.read(document));
  });

  it('[CRD-15] a deletion counts each of its characters', async () => {
    const start = crdt.genesis(key, 'a'.repeat(1_000));
    const small = await loadAutomergeCrdt({ hash, limits: { plainWorkMax: 600_000 } });
    const few = small.spliceText(start, 10, 400, '', actor(1), 0);
    const many = small.spliceText(start, 10, 800, '', actor(1), 0);
    expect(splitDocument(few.document).since).toHaveLength(1);
    expect(splitDocument(many.document).since).toHaveLength(0);
  });

  it('[CRD-15] what was gathered under a wider bound opens under a narrower one', async () => {
    const { saved, chunks, text } = scattered(crdt, 1_000, 10, 20);
    const gathered = applied(crdt, saved, joinChanges(chunks));
    expect(splitDocument(gathered).since).toHaveLength(10);
    const narrow = await loadAutomergeCrdt({ hash, limits: { plainWorkMax: 50_000 } });
    expect(narrow.read(gathered)).toBe(text);
    expect(narrow.heads(gathered)).toEqual(crdt.heads(gathered));
    const edit = narrow.spliceText(gathered, 0, 0, 'x', actor(1), 0);
    expect(splitDocument(edit.document).since).toHaveLength(0);
    expect(crdt.read(edit.document)).toBe(`x${text}`);
  });

  it('[CRD-18] what many appended edits made settles to bytes of the same text, heads and changes, warm or cold', async () => {
    let applied = crdt.genesis(key, '');
    let gathered = applied;
    for (let i = 0; i < 700; i += 1) {
      const edit = crdt.spliceText(applied, i, 0, 'x', actor(1), 0);
      applied = edit.document;
      const one = crdt.append(gathered, [edit.changes]);
      if (one.tag !== 'applied') throw new Error(one.tag);
      gathered = one.document;
      if (i === 10) expect(crdt.settle(gathered)).toBe(gathered);
    }
    expect(splitDocument(gathered).since).toHaveLength(700);
    expect(splitDocument(applied).since.length).toBeLessThan(700);
    const settled = crdt.settle(gathered);
    const cold = await loadAutomergeCrdt({ hash });
    expect(cold.settle(gathered.slice())).toEqual(settled);
    expect(crdt.settle(settled)).toBe(settled);
    expect(splitDocument(settled).since).toHaveLength(0);
    expect(cold.read(settled)).toBe('x'.repeat(700));
    expect(cold.heads(settled)).toEqual(crdt.heads(applied));
    expect(cold.changesOf(settled)).toEqual(crdt.changesOf(applied));
    expect(() => crdt.settle(Uint8Array.of(1, 2, 3))).toThrow(/malformed-message/);
  });

  it('[CRD-16] compact gives equal text, heads and changes in few bytes, warm or cold', async () => {
    let document = crdt.genesis(key, '');
    for (let i = 0; i < 30; i += 1)
      document = crdt.spliceText(document, i, 0, 'x', actor(1), 0).document;
    const cold = await loadAutomergeCrdt({ hash });
    const compacted = crdt.compact(document);
    expect(document.length).toBeGreaterThan(3_000);
    expect(compacted.length).toBeLessThan(400);
    expect(cold.compact(document.slice())).toEqual(compacted);
    expect(cold.compact(compacted)).toBe(compacted);
    expect(cold.read(compacted)).toBe('x'.repeat(30));
    expect(cold.heads(compacted)).toEqual(crdt.heads(document));
    expect(cold.changesOf(compacted)).toEqual(crdt.changesOf(document));
    expect(() => crdt.compact(Uint8Array.of(1, 2, 3))).toThrow(/malformed-message/);
  });
});
