import { toHex, utf8Decode, utf8Encode } from '@tidemark/model';
import type { Segment, ServerStore } from '@tidemark/ports';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  collect,
  compareWindows,
  emptyBatch,
  printRecord,
  printSegment,
  record,
  replay,
  segment,
  windowArbitrary,
  type ServerStoreHarness,
} from './server-windows.js';

const everything = { gt: '', lt: '\u{10ffff}', limit: 1_000 } as const;
const wide = { maxBytes: 1_000_000, maxRecords: 1_000 } as const;

/** Registers the rules that every ServerStore keeps. */
export const registerServerStoreContract = (
  name: string,
  createHarness: () => Promise<ServerStoreHarness>,
): void => {
  describe(`${name}: ServerStore`, () => {
    let harness: ServerStoreHarness;
    let store: ServerStore;
    beforeEach(async () => {
      harness = await createHarness();
      store = await harness.open();
    });
    afterEach(async () => {
      await store.close();
      await harness.dispose();
    });
    const reopen = async (): Promise<void> => {
      await store.close();
      store = await harness.open();
    };

    registerRecordRules(() => store);
    registerSegmentRules(() => store, reopen);
    registerPreparedRules(() => store, reopen);

    it('[STO-50] applies a commit whole and keeps it over a reopening', async () => {
      expect(await store.readState()).toBeUndefined();
      await store.commit(
        {
          ...emptyBatch,
          records: [{ table: 7, record: record('a', 1) }],
          feed: [segment(7, 1, 1)],
          ledger: [segment(7, 1, 1)],
          entries: [{ space: 'heads', key: 'r1', value: utf8Encode('h1') }],
        },
        'disk',
      );
      for (let round = 0; round < 2; round += 1) {
        expect(toHex((await store.readState()) ?? new Uint8Array(0))).toBe(
          toHex(utf8Encode('state')),
        );
        expect((await store.getRecords(7, ['a'])).map(printRecord)).toEqual([
          printRecord(record('a', 1)),
        ]);
        expect(await store.feedExtent()).toEqual({ segments: 1, bytes: 5 });
        const bounds = { incarnation: 1, after: 0, upTo: 9, maxBytes: 1_000 };
        for (const kind of ['feed', 'ledger'] as const)
          expect((await store.scanSegments(kind, bounds)).map(printSegment)).toEqual([
            printSegment(segment(7, 1, 1)),
          ]);
        expect((await store.scanEntries('heads', everything)).map(({ key }) => key)).toEqual([
          'r1',
        ]);
        expect(store.damage).toEqual([]);
        await reopen();
      }
    });

    it('[STO-54] keeps entries per space, removes by null, scans both ways', async () => {
      const keys = ['a', 'ab', 'b', 'é', '\u{ffee}', '\u{1f600}'];
      await store.putEntries(
        keys.map((key) => ({ space: 'parked', key, value: utf8Encode(key) }) as const),
      );
      await store.putEntries([
        { space: 'chains', key: 'a', value: utf8Encode('other') },
        { space: 'parked', key: 'ab', value: null },
      ]);
      const left = keys.filter((key) => key !== 'ab');
      const values = await store.getEntries('parked', ['b', 'ab', 'a']);
      expect(values.map((value) => value && toHex(value))).toEqual([
        toHex(utf8Encode('b')),
        undefined,
        toHex(utf8Encode('a')),
      ]);
      const scan = async (options: object): Promise<readonly string[]> =>
        (await store.scanEntries('parked', { ...everything, ...options })).map(({ key }) => key);
      expect(await scan({})).toEqual(left);
      expect(await scan({ reverse: true })).toEqual([...left].reverse());
      expect(await scan({ gt: 'a', lt: '\u{1f600}' })).toEqual(left.slice(1, -1));
      expect(await scan({ limit: 2 })).toEqual(left.slice(0, 2));
      expect(await scan({ limit: 2, reverse: true })).toEqual(left.slice(-2).reverse());
    });

    it('[STO-59] dumps the content as of the call, the same bytes for the same content', async () => {
      await store.commit({ ...emptyBatch, records: [{ table: 1, record: record('a', 1) }] }, 'os');
      const dump = store.dump();
      await store.commit({ ...emptyBatch, records: [{ table: 1, record: record('b', 2) }] }, 'os');
      const chunks = await collect(dump);
      expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThanOrEqual(1024 * 1024);
      await store.load(replay(chunks));
      expect((await store.getRecords(1, ['a', 'b'])).map(printRecord)).toEqual([
        printRecord(record('a', 1)),
        '-',
      ]);
      expect((await collect(store.dump())).map(toHex)).toEqual(chunks.map(toHex));
    });

    it('[STO-60] loads a dump of many frames, whatever the cuts between chunks', async () => {
      const big = new Uint8Array(700_000).map((_, i) => (i * 31) & 255);
      for (let n = 1; n <= 5; n += 1)
        await store.commit(
          {
            ...emptyBatch,
            records: [{ table: 1, record: { ...record(`r${n}`, n), row: big } }],
            feed: [{ ...segment(1, n, n), bytes: big }],
          },
          'os',
        );
      const before = await collect(store.dump());
      expect(before.length).toBeGreaterThan(4);
      const whole = new Uint8Array(before.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const chunk of before) {
        whole.set(chunk, at);
        at += chunk.length;
      }
      const cut: Uint8Array[] = [];
      for (let from = 0; from < whole.length; from += 99_991)
        cut.push(whole.slice(from, from + 99_991));
      await store.commit(
        { ...emptyBatch, state: utf8Encode('later'), prune: [{ table: 1, id: 'r1' }] },
        'os',
      );
      await store.load(replay(cut));
      expect((await collect(store.dump())).map(toHex)).toEqual(before.map(toHex));
      expect(await store.feedExtent()).toEqual({ segments: 5, bytes: 5 * big.length });
      await reopen();
      expect(store.damage).toEqual([]);
      expect((await collect(store.dump())).length).toBe(before.length);
    });

    it('[STO-61] refuses a dump with any difference and is empty then', async () => {
      await store.commit({ ...emptyBatch, records: [{ table: 1, record: record('a', 1) }] }, 'os');
      const chunks = await collect(store.dump());
      const damaged: Record<string, readonly Uint8Array[]> = {
        empty: [],
        'without its header': chunks.slice(1),
        'without its end': chunks.slice(0, -1),
        'twice the same frame': [...chunks.slice(0, 2), ...chunks.slice(1)],
        'behind its end': [...chunks, Uint8Array.of(0)],
      };
      for (let i = 0; i < chunks.length; i += 1)
        for (const at of [0, 3, 7, (chunks[i] as Uint8Array).length - 1]) {
          const copy = chunks.map((chunk) => new Uint8Array(chunk));
          const target = copy[i] as Uint8Array;
          target[at] = (target[at] as number) ^ 4;
          damaged[`bit of chunk ${i} at ${at}`] = copy;
        }
      for (const [what, bad] of Object.entries(damaged)) {
        await store.load(replay(chunks));
        await expect(store.load(replay(bad)), what).rejects.toMatchObject({
          code: 'checkpoint-invalid',
        });
        expect(await store.readState(), what).toBeUndefined();
        expect((await store.scanRecords(1, wide)).records, what).toEqual([]);
        expect(await store.feedExtent(), what).toEqual({ segments: 0, bytes: 0 });
      }
      await reopen();
      expect(store.damage).toEqual([]);
    });

    it('[STO-52] equals a model for random commits, scans, cuts and dumps', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(windowArbitrary, { minLength: 1, maxLength: 12 }),
          async (windows) => {
            await compareWindows(createHarness, windows);
          },
        ),
        { numRuns: 25 },
      );
    });
  });
};

const registerRecordRules = (store: () => ServerStore): void => {
  const ids = ['a', 'a-', 'aa', 'b', 'z', 'é', '\u{ffee}', '\u{1f600}'];
  const commitAll = (): Promise<void> =>
    store().commit(
      {
        ...emptyBatch,
        records: [
          ...[...ids].reverse().map((id, i) => ({ table: 300, record: record(id, i + 1) })),
          { table: 299, record: record('other', 1) },
          { table: 301, record: record('other', 1) },
        ],
      },
      'os',
    );

  it('[STO-51] returns records in the order asked for, tombstones with their row', async () => {
    await commitAll();
    await store().commit(
      { ...emptyBatch, records: [{ table: 300, record: record('b', 20, true) }] },
      'os',
    );
    const found = await store().getRecords(300, ['z', 'none', 'b', 'other']);
    expect(found.map(printRecord)).toEqual([
      printRecord(record('z', 4)),
      '-',
      printRecord(record('b', 20, true)),
      '-',
    ]);
    expect(await store().getRecords(300, [])).toEqual([]);
  });

  it('[STO-52] scans a table in the order of UTF-8 bytes, within its bounds', async () => {
    await commitAll();
    const scan = async (options: object): Promise<readonly [string, string | undefined]> => {
      const page = await store().scanRecords(300, { ...wide, ...options });
      return [page.records.map(({ id }) => id).join(' '), page.next];
    };
    expect(await scan({})).toEqual([ids.join(' '), undefined]);
    expect(await scan({ after: 'a' })).toEqual([ids.slice(1).join(' '), undefined]);
    expect(await scan({ after: 'a', upTo: 'b' })).toEqual(['a- aa b', undefined]);
    expect(await scan({ maxRecords: 3 })).toEqual(['a a- aa', 'aa']);
    expect(await scan({ after: 'aa', maxRecords: 5 })).toEqual([ids.slice(3).join(' '), undefined]);
    // Rows of these ids are `["a"]`, `["a-"]`, `["aa"]`: 5, 6 and 6 bytes.
    expect(await scan({ maxBytes: 11 })).toEqual(['a a-', 'a-']);
    expect(await scan({ maxBytes: 0 })).toEqual(['a', 'a']);
    expect(await scan({ after: '\u{1f600}' })).toEqual(['', undefined]);
  });

  it('[STO-53] prunes records for good', async () => {
    await commitAll();
    await store().commit({ ...emptyBatch, prune: [{ table: 300, id: 'b' }] }, 'os');
    expect(await store().getRecords(300, ['b'])).toEqual([undefined]);
    expect((await store().scanRecords(300, wide)).records).toHaveLength(ids.length - 1);
  });

  it('[STO-58] counts the values it reads', async () => {
    await commitAll();
    const start = store().reads();
    await store().getRecords(300, ['a', 'none', 'b']);
    await store().scanRecords(300, wide);
    await store().putEntries([{ space: 'heads', key: 'k', value: new Uint8Array(1) }]);
    await store().getEntries('heads', ['k', 'none']);
    const end = store().reads();
    expect(end.records - start.records).toBe(2 + ids.length);
    expect(end.entries - start.entries).toBe(1);
    expect(end.segments - start.segments).toBe(0);
    await store().scanRecords(300, { ...wide, maxRecords: 2 });
    expect(store().reads().records - end.records).toBe(3);
  });
};

const registerSegmentRules = (store: () => ServerStore, reopen: () => Promise<void>): void => {
  const windows = [
    [segment(1, 1, 10), segment(2, 3, 8)],
    [segment(1, 11, 11)],
    [segment(1, 14, 20), segment(2, 12, 20), segment(9, 19, 19)],
    [segment(1, 1, 5, 2)],
  ];
  const commitAll = async (): Promise<void> => {
    for (const window of windows)
      await store().commit({ ...emptyBatch, feed: window, ledger: window }, 'os');
  };
  const scan = async (
    after: number,
    upTo: number,
    options: object = {},
    incarnation = 1,
  ): Promise<readonly string[]> => {
    const bounds = { incarnation, after, upTo, maxBytes: 10_000, ...options };
    return (await store().scanSegments('feed', bounds)).map(
      ({ table, first, last }) => `${first}-${last}/${table}`,
    );
  };

  it('[STO-55] finds the segments that hold a version of the range', async () => {
    await commitAll();
    const all = ['3-8/2', '1-10/1', '11-11/1', '19-19/9', '14-20/1', '12-20/2'];
    expect(await scan(0, 20)).toEqual(all);
    expect(await scan(9, 20)).toEqual(all.slice(1));
    expect(await scan(10, 20)).toEqual(all.slice(2));
    expect(await scan(0, 2)).toEqual(['1-10/1']);
    expect(await scan(11, 13)).toEqual(['12-20/2']);
    expect(await scan(19, 20)).toEqual(['14-20/1', '12-20/2']);
    expect(await scan(20, 99)).toEqual([]);
    expect(await scan(5, 5)).toEqual([]);
    expect(await scan(0, 20, { from: { last: 10, table: 1 } })).toEqual(all.slice(2));
    expect(await scan(0, 20, { from: { last: 20, table: 1 } })).toEqual(all.slice(5));
    expect(await scan(0, 20, { maxBytes: 1 })).toEqual(all.slice(0, 1));
    expect(await scan(0, 20, { maxBytes: 11 })).toEqual(all.slice(0, 2));
    expect(await scan(0, 20, {}, 2)).toEqual(['1-5/1']);
  });

  it('[STO-69] tells of segments by their outlines, and gives them by their places', async () => {
    const outlined = (one: Segment): Segment => ({
      ...one,
      outline: utf8Encode(`${one.table}:${one.last}`),
    });
    for (const window of windows)
      await store().commit({ ...emptyBatch, feed: window.map(outlined) }, 'os');
    await store().commit({ ...emptyBatch, feed: [segment(3, 21, 21)] }, 'os');
    const bounds = { incarnation: 1, after: 9, upTo: 99, maxBytes: 10_000 };
    for (let round = 0; round < 2; round += 1) {
      const all = await store().scanOutlines(bounds);
      const read = await store().scanSegments('feed', bounds);
      expect(all.map(({ last, table, bytes }) => ({ last, table, bytes }))).toEqual(
        read.map(({ last, table, bytes }) => ({ last, table, bytes: bytes.length })),
      );
      expect(all.map(({ outline }) => utf8Decode(outline))).toEqual(
        read.map(({ last, table }) => (table === 3 ? '' : `${table}:${last}`)),
      );
      const places = [...all, { last: 4, table: 1 }];
      expect(
        (await store().getFeedSegments(1, places)).map((one) => one && printSegment(one)),
      ).toEqual([...read.map(printSegment), undefined]);
      const from = { last: 19, table: 9 };
      expect((await store().scanOutlines({ ...bounds, from })).map(({ last }) => last)).toEqual([
        20, 20, 21,
      ]);
      const few = await store().scanOutlines({ ...bounds, maxBytes: 1 });
      expect(few.map(({ last }) => last)).toEqual([10]);
      await reopen();
    }
    await store().commit({ ...emptyBatch, cutFeed: { incarnation: 1, n: 19 } }, 'os');
    expect((await store().scanOutlines(bounds)).map(({ last }) => last)).toEqual([20, 20, 21]);
  });

  it('[STO-56] cuts the feed at its head and tells its extent exactly', async () => {
    await commitAll();
    expect((await store().feedExtent()).segments).toBe(7);
    await store().commit({ ...emptyBatch, cutFeed: { incarnation: 1, n: 19 } }, 'os');
    const left = [segment(1, 14, 20), segment(2, 12, 20), segment(1, 1, 5, 2)];
    const extent = {
      segments: left.length,
      bytes: left.reduce((sum, { bytes }) => sum + bytes.length, 0),
    };
    for (let round = 0; round < 2; round += 1) {
      expect(await scan(0, 20)).toEqual(['14-20/1', '12-20/2']);
      expect(await store().feedExtent()).toEqual(extent);
      const ledger = { incarnation: 1, after: 0, upTo: 20, maxBytes: 10_000 };
      expect(await store().scanSegments('ledger', ledger)).toHaveLength(6);
      // A cut before the last one changes nothing.
      await store().commit({ ...emptyBatch, cutFeed: { incarnation: 1, n: 2 } }, 'os');
      await reopen();
    }
    await store().commit({ ...emptyBatch, cutFeed: { incarnation: 2, n: 1 } }, 'os');
    expect(await scan(0, 20)).toEqual([]);
    expect(await scan(0, 20, {}, 2)).toEqual(['1-5/1']);
    expect((await store().feedExtent()).segments).toBe(1);
  });
};

const registerPreparedRules = (store: () => ServerStore, reopen: () => Promise<void>): void => {
  const note = utf8Encode('note');
  const put = async (table: number, ids: readonly string[]): Promise<void> => {
    for (const id of ids)
      await store().prepared.put(
        table,
        [{ last: utf8Encode(id), bytes: utf8Encode(`pack to ${id}`) }],
        note,
      );
  };
  /** Last ids of the packs behind an id, each read behind the one before. */
  const walk = async (table: number, after: string): Promise<readonly string[]> => {
    const found: string[] = [];
    for (let at = utf8Encode(after); ;) {
      const pack = await store().prepared.next(table, at);
      if (pack === undefined) return found;
      const last = utf8Decode(pack.last);
      expect(utf8Decode(pack.bytes)).toBe(`pack to ${last}`);
      found.push(last);
      at = pack.last;
    }
  };

  it('[STO-67] prepared packs of a table are read one by one, in the order of ids, behind an id', async () => {
    await put(7, ['b', 'd']);
    await put(7, ['é', '\u{1f600}']);
    await put(8, ['c']);
    expect(await walk(7, '')).toEqual(['b', 'd', 'é', '\u{1f600}']);
    expect(await walk(7, 'b')).toEqual(['d', 'é', '\u{1f600}']);
    expect(await walk(7, 'c')).toEqual(['d', 'é', '\u{1f600}']);
    expect(await walk(7, '\u{1f600}')).toEqual([]);
    expect(await walk(9, '')).toEqual([]);
    const before = store().reads().packs;
    await walk(7, 'b');
    expect(store().reads().packs - before).toBe(3);
  });

  it('[STO-67] prepared packs between two ids are read together, in order, up to a number of bytes', async () => {
    // No table has so great a number; what packs are ordered by may begin with any byte.
    const shelf = 2 ** 31 + 7;
    const lasts = [[0, 1], [3], [3, 9], [255], [255, 255, 1]].map((one) => Uint8Array.from(one));
    const packs = lasts.map((last) => ({ last, bytes: new Uint8Array(100).fill(last.length) }));
    await put(7, ['z']);
    await store().prepared.put(shelf + 1, packs, note);
    await store().prepared.put(shelf, [...packs].reverse(), note);
    const scan = async (after: readonly number[], before: readonly number[], maxBytes = 10_000) =>
      store().prepared.scan(shelf, {
        ...{ after: Uint8Array.from(after), before: Uint8Array.from(before), maxBytes },
      });
    expect(await scan([], [255, 255, 255])).toEqual(packs);
    expect(await scan([3], [255])).toEqual([packs[2]]);
    expect(await scan([], [3])).toEqual([packs[0]]);
    expect(await scan([3], [3, 9])).toEqual([]);
    expect(await scan([], [255], 150)).toEqual(packs.slice(0, 2));
    expect(await scan([], [255], 1)).toEqual(packs.slice(0, 1));
    await store().prepared.clear(shelf);
    expect(await scan([], [255, 255, 255])).toEqual([]);
    expect(await store().prepared.readNote(shelf + 1)).toEqual(note);
    expect(await walk(7, '')).toEqual(['z']);
  });

  it('[STO-67] prepared packs and their note outlive a reopening, and a clear of their table removes both', async () => {
    expect(await store().prepared.readNote(7)).toBeUndefined();
    for (const table of [7, 8]) await put(table, ['a', 'b']);
    const later = utf8Encode('a later note');
    await store().prepared.put(8, [], later);
    await reopen();
    expect(await store().prepared.readNote(7)).toEqual(note);
    expect(await store().prepared.readNote(8)).toEqual(later);
    expect(await walk(7, '')).toEqual(['a', 'b']);
    await store().prepared.clear(7);
    expect(await store().prepared.readNote(7)).toBeUndefined();
    expect(await walk(7, '')).toEqual([]);
    expect(await walk(8, '')).toEqual(['a', 'b']);
  });

  it('[STO-67] a dump holds nothing that was prepared, and a load removes it', async () => {
    await store().commit({ ...emptyBatch, records: [{ table: 7, record: record('a', 1) }] }, 'os');
    const bare = await collect(store().dump());
    await put(7, ['a']);
    const dump = await collect(store().dump());
    expect(dump).toEqual(bare);
    await store().load(replay(dump));
    expect(await store().prepared.readNote(7)).toBeUndefined();
    expect(await walk(7, '')).toEqual([]);
    expect((await store().getRecords(7, ['a']))[0]).toBeDefined();
  });
};
