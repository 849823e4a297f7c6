import {
  emptyFoldState,
  encodeFoldState,
  openAppliedStore,
  openPreparedTables,
  type PreparedTables,
} from '@tidemark/merger';
import { rowsOfBlock, utf8Encode } from '@tidemark/model';
import type { RecordPage } from '@tidemark/ports';
import { expect, test } from 'vitest';
import { memoryStore, sha256 } from './fold-world.js';

const table = 1;
const count = 40;
const roomy = { bytes: 1_000_000, isWhole: true, codecs: [] };

const records = Array.from({ length: count }, (_, i) => ({
  table,
  record: {
    id: `p${String(i).padStart(3, '0')}`,
    ...{ version: { incarnation: 1, n: i + 1 }, deleted: false },
    row: utf8Encode(`[1,${i + 1},"x"]`),
    extra: utf8Encode('["",0]'),
  },
}));

/** Ids that a new replica gets from blocks; undefined where it is told to read records. */
const idsInBlocks = async (prepared: PreparedTables): Promise<readonly string[] | undefined> => {
  const at = await prepared.begin(table);
  const ids: string[] = [];
  for (let after: string | null = ''; after !== null;) {
    const step = await prepared.read(table, at, after, roomy);
    if (step?.kind !== 'blocks') return undefined;
    for (const { bytes } of step.blocks) ids.push(...rowsOfBlock(bytes).map(({ id }) => id));
    after = step.filling;
  }
  return ids;
};

test('[PUL-73] a step during which a checkpoint is loaded leaves no blocks', async () => {
  const store = await memoryStore();
  const state = encodeFoldState({ ...emptyFoldState('acme'), incarnation: 1, n: count });
  const nothing = { prune: [], feed: [], ledger: [], entries: [] };
  await store.commit({ ...nothing, state, records }, 'os');
  let hold: Promise<void> | undefined;
  let isHeld: () => void = () => undefined;
  const gated = {
    ...store,
    scanRecords: async (...args: Parameters<typeof store.scanRecords>): Promise<RecordPage> => {
      const page = await store.scanRecords(...args);
      isHeld();
      await hold;
      return page;
    },
  };
  const applied = await openAppliedStore(gated, 'acme', () => undefined);
  const prepared = openPreparedTables({
    applied,
    horizon: () => ({ incarnation: 0, n: 0 }),
    clock: { nowMs: () => 0 },
    parts: { hash: sha256, compression: undefined },
    limits: { bytesMin: 1, stepBytes: 100, staleBytesMin: roomy.bytes, packedBytesMin: 1 },
    onPrepared: () => undefined,
    onFailed: () => undefined,
  });
  const at = await prepared.begin(table);
  const first = await prepared.read(table, at, '', roomy);
  if (first?.kind !== 'blocks' || first.filling === null) throw new Error('no blocks came');
  let free: () => void = () => undefined;
  hold = new Promise((resolve) => (free = resolve));
  const held = new Promise<void>((resolve) => (isHeld = resolve));
  const second = prepared.read(table, at, first.filling, roomy);
  await held;
  await applied.reload(store.dump());
  free();
  hold = undefined;
  expect(await second).toBeUndefined();
  expect(await idsInBlocks(prepared)).toEqual(records.map(({ record }) => record.id));
  await store.close();
});
