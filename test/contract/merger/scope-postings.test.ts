import {
  emptyFoldState,
  encodeFoldState,
  hashOfScopeKey,
  openAppliedStore,
  openScopePostings,
  postingIdsMax,
  type PreparedLimits,
} from '@tidemark/merger';
import { encodeRow, utf8Encode } from '@tidemark/model';
import type { ServerStore, StoredRecord } from '@tidemark/ports';
import { expect, test } from 'vitest';
import { memoryStore } from './fold-world.js';

const table = 1;
const field = 2;
const sites = 5;
const fewRows = { bytesMin: 1, stepBytes: 100, staleBytesMin: 1_000, packedBytesMin: 1 };
const nothing = { prune: [], feed: [], ledger: [], entries: [] };

const idAt = (i: number): string => `p${String(i).padStart(6, '0')}`;

const record = (i: number, site: string, deleted = false): StoredRecord => ({
  id: idAt(i),
  ...{ version: { incarnation: 1, n: i + 1 }, deleted },
  row: encodeRow({
    version: { incarnation: 1, n: i + 1 },
    ...{ born: '', modifiedOn: 0, modifiedBy: '', createdOn: 0, owner: '', docs: {}, editedAt: {} },
    fields: { [field]: site },
  }),
  extra: utf8Encode('["",0]'),
});

const storeOf = async (records: readonly StoredRecord[]): Promise<ServerStore> => {
  const store = await memoryStore();
  const state = encodeFoldState({ ...emptyFoldState('acme'), incarnation: 1, n: records.length });
  await store.commit(
    { ...nothing, state, records: records.map((one) => ({ table, record: one })) },
    'os',
  );
  return store;
};

const postingsOf = async (store: ServerStore, limits: PreparedLimits = fewRows) =>
  openScopePostings({
    applied: await openAppliedStore(store, 'acme', () => undefined),
    horizon: () => ({ incarnation: 0, n: 0 }),
    clock: { nowMs: () => 0 },
    limits,
    onPrepared: () => undefined,
    onFailed: (error) => {
      throw error;
    },
  });

type Postings = Awaited<ReturnType<typeof postingsOf>>;

/** Ids that a fill reads of a site; undefined where it is told to scan. */
const idsOf = async (
  postings: Postings,
  site: string,
  after = '',
): Promise<readonly string[] | undefined> => {
  const at = await postings.begin(table, field);
  const ids: string[] = [];
  for (let filling: string | null = after; filling !== null;) {
    const wanted = { field, hash: hashOfScopeKey(site) };
    const step = await postings.read(table, at, filling, wanted);
    if (step?.kind !== 'ids' || step.isDense) return undefined;
    ids.push(...step.ids);
    filling = step.filling;
  }
  return ids;
};

test('[PUL-83] postings give the live records of each value of the scope key, in id order', async () => {
  const records = Array.from({ length: 60 }, (_, i) => record(i, `site-${i % sites}`, i % 7 === 0));
  const store = await storeOf(records);
  const postings = await postingsOf(store);
  for (let round = 0; round < 2; round += 1)
    for (let site = 0; site < sites; site += 1) {
      const wanted = records.filter(({ deleted }, i) => !deleted && i % sites === site);
      expect(await idsOf(postings, `site-${site}`)).toEqual(wanted.map(({ id }) => id));
      const behind = wanted[3]?.id ?? '';
      expect(await idsOf(postings, `site-${site}`, behind)).toEqual(
        wanted.slice(4).map(({ id }) => id),
      );
    }
  expect(await idsOf(postings, 'site-none')).toEqual([]);
  await store.close();
});

test('[PUL-83] a site costs the second replica its own records, not those of the table', async () => {
  const records = Array.from({ length: 2_000 }, (_, i) => record(i, `site-${i % 100}`));
  const store = await storeOf(records);
  const postings = await postingsOf(store, { ...fewRows, stepBytes: 10_000 });
  await idsOf(postings, 'site-1');
  const before = store.reads();
  expect(await idsOf(postings, 'site-2')).toHaveLength(20);
  expect(store.reads().records - before.records).toBe(0);
  expect(store.reads().packs - before.packs).toBeLessThanOrEqual(20);
  await store.close();
});

test('[PUL-83] where a value has many of the rows, a fill scans the table', async () => {
  const count = postingIdsMax + 2_000;
  const records = Array.from({ length: count }, (_, i) => record(i, 'all'));
  const store = await storeOf(records);
  const roomy = { ...fewRows, stepBytes: 1_000_000 };
  const postings = await postingsOf(store, roomy);
  // The first replica prepares as it goes.
  expect(await idsOf(postings, 'none')).toEqual([]);
  expect(await idsOf(postings, 'all')).toBeUndefined();
  expect(await idsOf(postings, 'all', idAt(count - 100))).toHaveLength(99);
  await store.close();
});

test('[PUL-83] postings of another scope key are made anew', async () => {
  const records = Array.from({ length: 40 }, (_, i) => record(i, `site-${i % sites}`));
  const store = await storeOf(records);
  const postings = await postingsOf(store);
  await idsOf(postings, 'site-1');
  const at = await postings.begin(table, field + 1);
  const wanted = { field: field + 1, hash: hashOfScopeKey(null) };
  const step = await postings.read(table, at, '', wanted);
  expect(step).toMatchObject({ kind: 'ids' });
  const other = await postings.read(table, at, '', { field, hash: hashOfScopeKey('site-1') });
  expect(other).toBeUndefined();
  await store.close();
});
