import { createHash } from 'node:crypto';
import * as automerge from '@automerge/automerge';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { toHex } from '@tidemark/model';
import type { CrdtKey, FieldCrdt } from '@tidemark/ports';
import { joinChanges } from './change-list.js';
import { splitDocument } from './document-bytes.js';
import { loadAutomergeCrdt } from './index.js';

const hash = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const key: CrdtKey = { tenant: 'acme', table: 7, record: 'r1', field: 3 };
const actor = (n: number): Uint8Array => new Uint8Array(16).fill(n);
const runsAtLeast = (runs: number) => ({
  numRuns: Math.max(runs, fc.readConfigureGlobal().numRuns ?? 0),
});

/** Text that Automerge alone makes of a document's bytes, saved and loaded once more. */
const byAutomerge = (document: Uint8Array): string => {
  const doc = automerge.load<{ t: string }>(document);
  const again = automerge.load<{ t: string }>(automerge.save(doc));
  expect(again.t).toBe(doc.t);
  expect([...automerge.getHeads(again)].sort()).toEqual([...automerge.getHeads(doc)].sort());
  automerge.free(doc);
  automerge.free(again);
  return again.t;
};

const place = fc.record({
  at: fc.nat(1_000),
  remove: fc.nat(4),
  insert: fc.string({ unit: fc.constantFrom('a', 'é', '😀', '\n'), maxLength: 4 }),
});

/** Edits of one device, each at a share of the text, as runs. */
const typed = (
  crdt: FieldCrdt,
  start: Uint8Array,
  by: number,
  edits: readonly { at: number; remove: number; insert: string }[],
): Uint8Array[] => {
  let document = start;
  return edits.map(({ at, remove, insert }) => {
    const characters = [...crdt.read(document)];
    const from = Math.floor((at / 1_001) * (characters.length + 1));
    const after = [...characters.slice(0, from), insert, ...characters.slice(from + remove)];
    const edit = crdt.editText(document, after.join(''), actor(by), 0);
    document = edit.document;
    return edit.changes;
  });
};

const elements = ['known', 'own', 'later', 'unknown', 'deleted', 'front'] as const;
const forgedOperation = fc.record({
  kind: fc.constantFrom('insert', 'insert', 'delete', 'delete', 'set', 'twoPreds', 'noPred'),
  element: fc.constantFrom(...elements, 'known', 'known'),
  pick: fc.nat(1_000),
  value: fc.constantFrom<string | number>('x', '😀', 'ab', '', 7, 'y', 'z'),
});

describe('crdt-automerge', () => {
  let crdt: FieldCrdt;
  beforeAll(async () => {
    crdt = await loadAutomergeCrdt({ hash });
  });

  it('[CRD-15] plain changes of three devices, in any order, make the text that Automerge makes', () => {
    let gathered = 0;
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('q', '😁'), maxLength: 5 }),
        fc.tuple(...[1, 2, 3].map(() => fc.array(place, { maxLength: 8 }))),
        fc.infiniteStream(fc.nat(2)),
        (value, [a, b, c], turns) => {
          const start = crdt.genesis(key, value);
          const lists = [a, b, c].map((edits, i) =>
            typed(crdt, start, [9, 1, 5][i] ?? 0, edits ?? []),
          );
          let document = start;
          for (let left = lists.flat().length; left > 0;) {
            const run = lists[turns.next().value ?? 0]?.shift();
            if (run === undefined) continue;
            left -= 1;
            if (run.length === 0) continue;
            const done = crdt.apply(document, [run]);
            if (done.tag !== 'applied') throw new Error(done.tag);
            document = done.document;
            expect(byAutomerge(document)).toBe(done.value);
          }
          gathered += splitDocument(document).since.length;
        },
      ),
      runsAtLeast(60),
    );
    expect(gathered).toBeGreaterThan(0);
  });

  it('[CRD-10] forged changes that are taken as plain mean the same to Automerge, saved or not', async () => {
    const seen = { plain: 0, judged: 0, refused: 0 };
    const fresh = await loadAutomergeCrdt({ hash });
    fc.assert(
      fc.property(
        fc.array(fc.array(forgedOperation, { minLength: 1, maxLength: 4 }), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.nat(3),
        (changes, lag) => {
          const start = crdt.genesis(key, 'hello 😀');
          const first = crdt.spliceText(start, 1, 2, 'abc', actor(1), 0);
          let { document } = crdt.spliceText(first.document, 4, 1, 'Z', actor(2), 0);
          const forger = toHex(actor(7));
          let last = 0;
          changes.forEach((operations, nth) => {
            const doc = automerge.load<{ t: string }>(document);
            const metas = automerge.getBackend(doc).getChangesMeta([]);
            const object = automerge.getObjectId(doc, 't') ?? '';
            const maker = object.slice(object.indexOf('@') + 1);
            // A forger may leave out what it has seen: its first change then hangs on an older one.
            const dep = metas[Math.max(0, metas.length - 1 - (nth === 0 ? lag : 0))];
            const startOp = (dep?.maxOp ?? 0) + 1;
            const known = metas.flatMap(({ actor: by, startOp: from, maxOp }) =>
              Array.from({ length: maxOp - from + 1 }, (_, i) => `${from + i}@${by}`),
            );
            const ops = operations.map(({ kind, element, pick, value }, i) => {
              const own = startOp + (pick % (i + 1)) - 1;
              const id = {
                known: known[pick % known.length] ?? '',
                own: `${own}@${forger}`,
                later: `${startOp + i + (pick % 3)}@${forger}`,
                unknown: `${1 + (pick % startOp)}@${toHex(actor(3))}`,
                deleted: `2@${maker}`,
                front: '_head',
              }[element];
              if (kind === 'insert')
                return { action: 'set', obj: object, elemId: id, insert: true, value, pred: [] };
              const preds =
                kind === 'noPred' ? [] : kind === 'twoPreds' ? [id, known[3] ?? ''] : [id];
              return kind === 'set'
                ? { action: 'set', obj: object, elemId: id, insert: false, value, pred: [id] }
                : { action: 'del', obj: object, elemId: id, insert: false, pred: preds };
            });
            automerge.free(doc);
            let chunk: Uint8Array;
            try {
              chunk = automerge.encodeChange({
                actor: forger,
                seq: last + 1,
                startOp,
                time: 0,
                message: null,
                deps: [dep?.hash ?? ''],
                ops: ops as never,
              } as never);
            } catch {
              return;
            }
            const done = crdt.apply(document, [joinChanges([chunk])]);
            if (done.tag !== 'applied') {
              seen.refused += 1;
              return;
            }
            last += 1;
            const plain =
              splitDocument(done.document).since.length > splitDocument(document).since.length;
            seen[plain ? 'plain' : 'judged'] += 1;
            document = done.document;
            expect(byAutomerge(document)).toBe(done.value);
            expect(fresh.read(document)).toBe(done.value);
          });
        },
      ),
      runsAtLeast(300),
    );
    expect(Math.min(seen.plain, seen.refused + seen.judged)).toBeGreaterThan(0);
  });

  it('[CRD-2] [CRD-15] versions are the same bytes whatever is in memory, over several savings', async () => {
    const start = crdt.genesis(key, '');
    const words = (n: number) =>
      Array.from({ length: 220 }, (_, i) => ({
        at: n === 1 ? 0 : 1_000,
        remove: i % 3,
        insert: 'ab😀',
      }));
    const a = typed(crdt, start, 1, words(1));
    const b = typed(crdt, start, 2, words(2));
    const runs = a.flatMap((run, i) => [run, b[i] ?? new Uint8Array()]);
    let warm = start;
    let cold = start;
    let savings = 0;
    for (let i = 0; i < runs.length; i += 1) {
      const run = runs[i] ?? new Uint8Array();
      // Now and then nothing is in memory: all that is known of the document lies in its bytes.
      const other = i % 20 === 0 ? await loadAutomergeCrdt({ hash }) : undefined;
      const done = crdt.apply(warm, [run]);
      if (done.tag !== 'applied') throw new Error(done.tag);
      if (splitDocument(done.document).since.length === 0) savings += 1;
      warm = done.document;
      const again = (other ?? crdt).apply(cold, [run]);
      if (again.tag !== 'applied') throw new Error(again.tag);
      cold = again.document;
      if (other !== undefined) expect(cold).toEqual(warm);
    }
    expect(savings).toBeGreaterThan(2);
    expect(cold).toEqual(warm);
    const reader = await loadAutomergeCrdt({ hash });
    expect(reader.read(warm)).toBe(byAutomerge(warm));
    const whole = reader.apply(start, runs);
    expect(whole).toMatchObject({ tag: 'applied', value: crdt.read(warm) });
    if (whole.tag === 'applied') expect(reader.heads(whole.document)).toEqual(crdt.heads(warm));
    expect(reader.changesOf(warm)).toEqual(crdt.changesOf(warm));
  });

  it('[CRD-10] refusing leaves document and memory as they were', () => {
    const start = crdt.genesis(key, 'hello');
    const first = crdt.spliceText(start, 5, 0, ' you', actor(1), 0);
    const second = crdt.spliceText(first.document, 9, 0, '!', actor(1), 0);
    const broken = second.changes.slice();
    broken[broken.length - 1] = (broken[broken.length - 1] ?? 0) ^ 1;
    expect(crdt.apply(first.document, [broken]).tag).toBe('undecodable');
    expect(crdt.apply(start, [first.changes, broken]).tag).toBe('undecodable');
    expect(crdt.read(first.document)).toBe('hello you');
    expect(crdt.apply(start, [first.changes])).toMatchObject({ value: 'hello you' });
    expect(crdt.apply(first.document, [second.changes])).toMatchObject({ value: 'hello you!' });
  });
});
