import { compareBytes, toHex, utf8Encode } from '@tidemark/model';
import type { Segment, ServerBatch, ServerStore, StoredRecord } from '@tidemark/ports';
import fc from 'fast-check';
import { expect } from 'vitest';

/** One server store under test, which can be closed and opened again on the same data. */
export interface ServerStoreHarness {
  /** Opens the store; at most one is open at a time. */
  readonly open: () => Promise<ServerStore>;
  /** Removes what the harness made. The store is closed. */
  readonly dispose: () => Promise<void>;
}

/** Batch that changes nothing. */
export const emptyBatch: ServerBatch = {
  state: utf8Encode('state'),
  records: [],
  prune: [],
  feed: [],
  ledger: [],
  entries: [],
};

/** Record whose row and extra follow from its id and version. */
export const record = (id: string, n: number, deleted = false, text = id): StoredRecord => ({
  id,
  version: { incarnation: 1, n },
  deleted,
  row: utf8Encode(`["${text}"]`),
  extra: utf8Encode(`x${n}`),
});

/** Segment whose bytes follow from its place. */
export const segment = (table: number, first: number, last: number, incarnation = 1): Segment => ({
  table,
  incarnation,
  first,
  last,
  bytes: utf8Encode(`${table}:${first}-${last}`),
});

/** Record as text, to compare. */
export const printRecord = (found: StoredRecord | undefined): string =>
  found === undefined
    ? '-'
    : `${found.id}@${found.version.incarnation}/${found.version.n}${found.deleted ? '!' : ''} ${toHex(found.row)} ${toHex(found.extra)}`;

/** Segment as text, to compare. */
export const printSegment = ({ table, incarnation, first, last, bytes }: Segment): string =>
  `${incarnation}:${first}-${last}/${table} ${toHex(bytes)}`;

/** Chunks of a dump. */
export const collect = async (chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> => {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
};

/** Gives chunks one by one. */
export async function* replay(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

/** Window of a random history: what it writes is derived from the numbers in order. */
export interface RandomWindow {
  readonly writes: readonly {
    readonly table: number;
    readonly id: string;
    readonly size: number;
  }[];
  readonly prune: readonly string[];
  readonly span: number;
  readonly cut: number | undefined;
}

const idArbitrary = fc.constantFrom('a', 'aa', 'b', 'ba', 'é', '\u{ffee}', '\u{1f600}', '~');
/** Random windows. */
export const windowArbitrary: fc.Arbitrary<RandomWindow> = fc.record({
  writes: fc.array(
    fc.record({ table: fc.integer({ min: 1, max: 3 }), id: idArbitrary, size: fc.nat(40) }),
    { maxLength: 8 },
  ),
  prune: fc.array(idArbitrary, { maxLength: 2 }),
  span: fc.integer({ min: 1, max: 9 }),
  cut: fc.option(fc.nat(60), { nil: undefined, freq: 4 }),
});

/** Runs random windows on a fresh store and on plain maps, and compares all that can be read. */
export const compareWindows = async (
  createHarness: () => Promise<ServerStoreHarness>,
  windows: readonly RandomWindow[],
): Promise<void> => {
  const harness = await createHarness();
  const store = await harness.open();
  try {
    const tables = new Map<number, Map<string, StoredRecord>>();
    const feed: Segment[] = [];
    let n = 0;
    let cut = 0;
    for (const window of windows) {
      const first = n + 1;
      n += window.span;
      const latest = new Map<string, { readonly table: number; readonly record: StoredRecord }>();
      for (const { table, id, size } of window.writes)
        latest.set(`${table}/${id}`, {
          table,
          record: { ...record(id, n, size % 7 === 0), row: new Uint8Array(size).fill(n) },
        });
      const pruned = window.prune
        .filter((id) => !latest.has(`1/${id}`))
        .map((id) => ({ table: 1, id }));
      const touched = [...new Set([...latest.values()].map(({ table }) => table))];
      const segments = touched.map((table) => segment(table, first + (table % window.span), n));
      // A cut lies before the window that makes it.
      const cutTo = window.cut === undefined ? undefined : Math.min(window.cut, first - 1);
      if (cutTo !== undefined) cut = Math.max(cut, cutTo);
      await store.commit(
        {
          ...emptyBatch,
          records: [...latest.values()],
          prune: pruned,
          feed: segments,
          ...(cutTo === undefined ? {} : { cutFeed: { incarnation: 1, n: cutTo } }),
        },
        'os',
      );
      for (const { id } of pruned) tables.get(1)?.delete(id);
      for (const { table, record: written } of latest.values()) {
        if (!tables.has(table)) tables.set(table, new Map());
        tables.get(table)?.set(written.id, written);
      }
      feed.push(...segments);
    }
    await compareWithModel(store, tables, feed, cut, n);
    const chunks = await collect(store.dump());
    await store.commit({ ...emptyBatch, prune: [{ table: 1, id: 'a' }] }, 'os');
    await store.load(replay(chunks));
    expect((await collect(store.dump())).map(toHex)).toEqual(chunks.map(toHex));
    await compareWithModel(store, tables, feed, cut, n);
  } finally {
    await store.close();
    await harness.dispose();
  }
};

const compareWithModel = async (
  store: ServerStore,
  tables: ReadonlyMap<number, ReadonlyMap<string, StoredRecord>>,
  feed: readonly Segment[],
  cut: number,
  end: number,
): Promise<void> => {
  for (const table of [1, 2, 3]) {
    const expected = [...(tables.get(table)?.values() ?? [])].sort((a, b) =>
      compareBytes(utf8Encode(a.id), utf8Encode(b.id)),
    );
    const ids = expected.map(({ id }) => id);
    expect((await store.getRecords(table, ids)).map(printRecord)).toEqual(
      expected.map(printRecord),
    );
    for (const maxBytes of [1, 50, 10_000]) {
      const found: StoredRecord[] = [];
      let after: string | undefined;
      do {
        const page = await store.scanRecords(table, {
          ...(after === undefined ? {} : { after }),
          maxBytes,
          maxRecords: 3,
        });
        if (page.next !== undefined) expect(page.records.length).toBeGreaterThan(0);
        found.push(...page.records);
        after = page.next;
      } while (after !== undefined);
      expect(found.map(printRecord)).toEqual(expected.map(printRecord));
    }
  }
  const kept = feed
    .filter(({ last }) => last > cut)
    .sort((a, b) => a.last - b.last || a.table - b.table);
  expect(await store.feedExtent()).toEqual({
    segments: kept.length,
    bytes: kept.reduce((sum, { bytes }) => sum + bytes.length, 0),
  });
  for (let after = 0; after < end; after += 3)
    for (let upTo = after; upTo <= end; upTo += 5) {
      const from = Math.max(after, cut);
      const wanted = kept.filter(({ first, last }) => last > from && first <= upTo && from < upTo);
      const bounds = { incarnation: 1, after, upTo, maxBytes: 100_000 };
      expect((await store.scanSegments('feed', bounds)).map(printSegment)).toEqual(
        wanted.map(printSegment),
      );
    }
};
