import type { Value } from '@tidemark/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TextDeltas } from './text-deltas.js';

/** Texts that are edited step by step, with halves of pairs at the seams, among other values. */
const steps = fc.array(
  fc.record({
    record: fc.constantFrom('a', 'b'),
    field: fc.constantFrom(1, 2),
    at: fc.nat(3_000),
    remove: fc.nat(80),
    insert: fc.oneof(
      fc.constantFrom('', '\u{1f600}', '\u{1f601}', 'x'.repeat(1_500)),
      fc.string({ unit: 'binary', maxLength: 30 }),
    ),
    other: fc.option(fc.constantFrom<Value>(null, 7, true, 'short', 'y'.repeat(64)), { freq: 5 }),
  }),
  { maxLength: 30 },
);

test('[SRV-24] long texts come back as they were, whatever was changed between them', () => {
  fc.assert(
    fc.property(steps, (edits) => {
      const texts = new Map<string, string>();
      const values = edits.map(({ record, field, at, remove, insert, other }) => {
        const key = `${field}/${record}`;
        const before = texts.get(key) ?? 'word '.repeat(400);
        const after = before.slice(0, at) + insert + before.slice(at + remove);
        texts.set(key, after);
        return { record, field, value: other ?? after };
      });
      const writing = new TextDeltas();
      const written = values.map(({ record, field, value }) => writing.write(field, record, value));
      const reading = new TextDeltas();
      const stored = JSON.parse(JSON.stringify(written)) as typeof written;
      expect(
        values.map(({ record, field }, i) => reading.read(field, record, stored[i] ?? null)),
      ).toEqual(values.map(({ value }) => value));
    }),
  );
});

test('[SRV-24] a word at the end of a note takes the bytes of the word', () => {
  const deltas = new TextDeltas();
  const note = 'It was a long note. '.repeat(1_000);
  expect(deltas.write(1, 'a', note)).toBe(note);
  expect(deltas.hasChanges).toBe(false);
  expect(deltas.write(1, 'a', note)).toEqual([note.length, 0, '']);
  expect(deltas.write(1, 'a', `${note}more`)).toEqual([note.length, 0, 'more']);
  expect(deltas.hasChanges).toBe(true);
  expect(deltas.write(2, 'a', `${note}more`)).toBe(`${note}more`);
});

test('[SRV-94] a change of a text that is not there is `storage-damaged`', () => {
  for (const json of [[0, 0, 'x'], [1], [-1, 0, ''], [0.5, 0, ''], [9e9, 9e9, ''], [0, 0, 1]]) {
    const deltas = new TextDeltas();
    expect(() => deltas.read(1, 'a', json as never)).toThrow('has another form');
    deltas.read(1, 'a', 'x'.repeat(64));
    if (json[0] !== 0 || json[2] !== 'x')
      expect(() => deltas.read(1, 'a', json as never)).toThrow('has another form');
  }
});
