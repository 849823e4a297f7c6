import { createHmac } from 'node:crypto';
import { toBase64, utf8Encode } from '@tidemark/model';
import { count, recordId, text } from '@tidemark/testkit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeCursor, encodeCursor, type CursorState, type Mac } from './cursor.js';

const macOf =
  (key: string): Mac =>
  (bytes) =>
    new Uint8Array(createHmac('sha256', key).update(bytes).digest());
const mac = macOf('key');
const invalid = { _tag: 'Left', left: 'invalid-cursor' };

const receipt = fc.record({
  ...{ incarnation: count, epoch: count, mergedTo: count },
  ...{ head: text(), version: count, archivedTo: count },
});
const cursor = fc.record(
  {
    ...{ replica: text(), user: text(), incarnation: count },
    tables: fc.array(fc.record({ table: count, at: count, filling: fc.option(recordId) })),
    ...{ scopeHash: text(), customizationVersion: count, principalVersion: count },
    ...{ clockMs: count, utcOffsetMinutes: fc.integer({ min: -840, max: 840 }).map((m) => m + 0) },
    ...{ pass: count, to: count },
    feed: fc.option(fc.record({ last: count, table: count })),
    pull: fc.record({
      ...{ group: fc.array(count), receipt, done: count },
      after: fc.option(recordId),
    }),
    seen: fc.record({ n: count, lives: fc.array(fc.tuple(text(), count)) }),
    doubt: fc.record({ incarnation: count, after: count }),
  },
  {
    requiredKeys: [
      'replica',
      'user',
      'incarnation',
      'tables',
      'scopeHash',
      'customizationVersion',
      'principalVersion',
      'clockMs',
      'utcOffsetMinutes',
      'pass',
      'to',
      'feed',
    ],
  },
) as fc.Arbitrary<CursorState>;

test('[SYN-80] decoding inverts encoding', () => {
  fc.assert(
    fc.property(cursor, (state) => {
      expect(decodeCursor(encodeCursor(state, mac), mac)).toEqual({ _tag: 'Right', right: state });
    }),
  );
});

test('[SYN-80] the text is format, code and state', () => {
  const [state] = fc.sample(cursor, { numRuns: 1, seed: 1 });
  const text1 = encodeCursor(state as CursorState, mac);
  const json = utf8Encode(JSON.stringify(state));
  const covered = Buffer.concat([Buffer.from('tidemark cursor 1\n'), json]);
  expect(text1).toBe(`1.${toBase64(mac(covered))}.${toBase64(json)}`);
});

test('[SYN-81] a cursor of another key, or with any character changed, is invalid', () => {
  fc.assert(
    fc.property(cursor, fc.nat(), fc.constantFrom('A', 'z', '.', '=', '0'), (state, at, other) => {
      const good = encodeCursor(state, mac);
      expect(decodeCursor(good, macOf('another'))).toEqual(invalid);
      const place = at % good.length;
      const changed = `${good.slice(0, place)}${other}${good.slice(place + 1)}`;
      if (changed !== good) expect(decodeCursor(changed, mac)).toEqual(invalid);
      expect(decodeCursor(`${good}.AAAA`, mac)).toEqual(invalid);
    }),
  );
});

test('[SYN-82] decoding is total, also for texts that the key has signed', () => {
  const purpose = utf8Encode('tidemark cursor 1\n');
  const signed = (body: Uint8Array): string =>
    `1.${toBase64(mac(new Uint8Array([...purpose, ...body])))}.${toBase64(body)}`;
  const unsigned = (body: Uint8Array): string => `1.${toBase64(mac(body))}.${toBase64(body)}`;
  const bodies = fc.oneof(fc.uint8Array(), fc.json().map(utf8Encode));
  fc.assert(
    fc.property(fc.oneof(text(), bodies.map(signed), bodies.map(unsigned)), (some) => {
      expect(decodeCursor(some, mac)).toEqual(invalid);
    }),
  );
  for (const some of ['', '.', '..', '1..', '2..', '...'])
    expect(decodeCursor(some, mac)).toEqual(invalid);
});
