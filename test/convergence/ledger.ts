import { decodeLedgerSegment, type LedgerEntry } from '@tidemark/merger';
import {
  decodeRow,
  syncErrorFromFields,
  syncErrorsTable,
  type SyncErrorRow,
} from '@tidemark/model';
import type { ServerStore } from '@tidemark/ports';

const versionMax = 2 ** 47;

/** Every entry of the ledger in version order, with its table. */
export const readLedger = async (
  store: ServerStore,
  incarnation: number,
): Promise<readonly (LedgerEntry & { readonly table: number })[]> => {
  const all: (LedgerEntry & { readonly table: number })[] = [];
  let from: { readonly last: number; readonly table: number } | undefined;
  for (;;) {
    const segments = await store.scanSegments('ledger', {
      incarnation,
      after: 0,
      upTo: versionMax,
      maxBytes: 16 * 1024 * 1024,
      ...(from === undefined ? {} : { from }),
    });
    if (segments.length === 0) break;
    for (const { table, last, bytes } of segments) {
      for (const entry of decodeLedgerSegment(bytes).entries()) all.push({ ...entry, table });
      from = { last, table };
    }
  }
  return all.sort((a, b) => a.n - b.n);
};

/** Every sync error of a server, by root. */
export const readSyncErrors = async (
  store: ServerStore,
): Promise<ReadonlyMap<string, SyncErrorRow>> => {
  const bounds = { maxBytes: 64 * 1024 * 1024, maxRecords: 1_000_000 };
  const { records } = await store.scanRecords(syncErrorsTable, bounds);
  return new Map(
    records
      .filter(({ deleted }) => !deleted)
      .map(({ id, row }) => [id, syncErrorFromFields(id, decodeRow(row).fields)] as const),
  );
};
