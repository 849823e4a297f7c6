import type { TableId } from '@tidemark/model';
import type { ServerBatch } from '@tidemark/ports';
import { decodeFeedSegment } from '../fold/feed-segment.js';
import type { AppliedStore } from './applied-store.js';

const scanBytesMax = 4 * 1024 * 1024;
const scanRecordsMax = 20_000;

/** Number of live records of each table, for progress only: decisions never read it. */
export interface TableSizes {
  /** Records of a table; 0 until it was counted. */
  readonly of: (table: TableId) => number;
  /** Counts a table in the background the first time that it is asked for. */
  readonly want: (table: TableId) => void;
  /** Takes the count of somebody who went through the table; what changed meanwhile is not in it. */
  readonly learn: (table: TableId, size: number) => void;
  readonly onCommit: (batch: ServerBatch) => void;
  readonly idle: () => Promise<void>;
}

/**
 * Builds the sizes of a store. `isNew`: the store is empty, so that every count is known from the start;
 * else a table is counted by one scan when it is first downloaded.
 */
export const createTableSizes = (
  isNew: boolean,
): TableSizes & {
  readonly attach: (applied: AppliedStore) => void;
} => {
  const sizes = new Map<TableId, number>();
  const counting = new Map<TableId, Promise<void>>();
  let applied: AppliedStore | undefined;

  const count = async (source: AppliedStore, table: TableId): Promise<void> => {
    let total = 0;
    let after: string | undefined;
    for (;;) {
      const { records, next } = await source.store.scanRecords(table, {
        ...(after === undefined ? {} : { after }),
        maxBytes: scanBytesMax,
        maxRecords: scanRecordsMax,
      });
      for (const { deleted } of records) if (!deleted) total += 1;
      if (next === undefined) break;
      after = next;
    }
    sizes.set(table, total);
  };
  return {
    attach: (source) => {
      applied = source;
    },
    of: (table) => sizes.get(table) ?? 0,
    want: (table) => {
      if (isNew || applied === undefined || sizes.has(table) || counting.has(table)) return;
      const running = count(applied, table)
        .catch(() => undefined)
        .finally(() => counting.delete(table));
      counting.set(table, running);
    },
    learn: (table, size) => {
      if (!sizes.has(table)) sizes.set(table, size);
    },
    onCommit: ({ feed }) => {
      for (const { table, bytes } of feed) {
        if (!isNew && !sizes.has(table)) continue;
        let size = sizes.get(table) ?? 0;
        for (const { kind } of decodeFeedSegment(bytes).changes()) {
          if (kind === 'create' || kind === 'restore') size += 1;
          else if (kind === 'delete') size -= 1;
        }
        sizes.set(table, size);
      }
    },
    idle: async () => {
      await Promise.all(counting.values());
    },
  };
};
