import { expect, test } from 'vitest';
import { fromBase64, toBase64, utf8Encode } from '@tidemark/model';
import { MergeWorld, openCrdt, operation, schemaOf, sha256 } from './merge-world.js';
import { tableOf } from './rule-tables.js';

/** Text of 6,000 characters that hardly shrinks. */
const dense = (seed: number): string => {
  let text = '';
  for (let i = 0; text.length < 6_000; i += 1) text += toBase64(sha256(utf8Encode(`${seed}/${i}`)));
  return text.slice(0, 6_000);
};

const textCount = 6;
const filling = 'p'.repeat(700_000);

test('[MRG-2] [CRD-16] texts that gathered changes are made compact before a record is invalid', async () => {
  const crdt = await openCrdt();
  const ids = Array.from({ length: textCount }, (_, i) => i + 1);
  const texts = ids.map((id) => ({ id, name: `text${id}`, type: 'text' as const }));
  const fields = [...texts, { id: 99, name: 'filling', type: 'text' as const }];
  const world = new MergeWorld(schemaOf([tableOf(1, { fields })]), crdt);
  const target = { table: 1, record: 'r' };
  const values = ids.map((id) => ({ field: id, before: null, after: dense(id) }));
  values.push({ field: 99, before: null, after: filling });
  world.send('office', [operation('create', { ...target, set: values })]);
  const base = world.base(1, 'r');

  // Each document gathers 15 KB behind its saved part, which a saving makes a few bytes of.
  const sizes: number[] = [];
  for (const id of ids) {
    const actor = new Uint8Array(16).fill(id);
    const start = crdt.genesis({ tenant: 'acme', ...target, field: id }, dense(id));
    const first = crdt.spliceText(start, 6_000, 0, 'y', actor, 0);
    const second = crdt.spliceText(first.document, 6_001, 0, 'x'.repeat(15_000), actor, 0);
    const send = (prev: number, changes: Uint8Array) =>
      world.send(`author${id}`, [
        operation('update', { ...target, base, prev, crdt: [{ field: id, changes }] }),
      ]);
    expect(send(0, crdt.changesOf(first.document)).parks).toEqual([]);
    expect(send(1, second.changes).parks).toEqual([]);
    const docs = Object.values(world.record(1, 'r')?.row.docs ?? {});
    sizes.push(docs.reduce((sum, text) => sum + text.length, 0));
  }
  // Once everything was made compact, what was gathered before left no trace.
  expect(sizes.some((size, i) => size < (sizes[i - 1] ?? 0))).toBe(true);
  const { row } = world.record(1, 'r') ?? { row: undefined };
  for (const id of ids) {
    expect(row?.fields[id]).toBe(`${dense(id)}y${'x'.repeat(15_000)}`);
    const bytes = fromBase64(row?.docs[id] ?? '');
    expect(bytes && crdt.read(bytes)).toBe(row?.fields[id]);
  }
});
