import { createHash } from 'node:crypto';
import {
  decodeTransaction,
  isLeft,
  openTransaction,
  toHex,
  type Customization,
  type Operation,
  type Value,
} from '@tidemark/model';

const readBytes = 1024 * 1024;
const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** One field of an operation in the log. */
export interface LoggedChange {
  readonly field: string;
  readonly before?: Value;
  readonly after?: Value;
  readonly by?: number;
  /** Bytes of a text's edit. */
  readonly crdtBytes?: number;
}

/** One operation of the log; `erased` when its values were removed. */
export interface LoggedOperation {
  readonly index: number;
  /** Index of the first operation of its transaction, and their number. */
  readonly transaction: number;
  readonly operations: number;
  /** Chain head after the transaction, hexadecimal. */
  readonly head: string;
  readonly erased: boolean;
  readonly table: string | null;
  readonly record: string | null;
  readonly kind: Operation['kind'] | null;
  /** Time of the device at which it was written, ms; null when erased. */
  readonly at: number | null;
  readonly changes: readonly LoggedChange[];
}

const changesOf = (op: Operation, customization: Customization): readonly LoggedChange[] => {
  const table = customization.tables.find(({ id }) => id === op.table);
  const nameOf = (id: number): string =>
    table?.fields.find((field) => field.id === id)?.name ?? String(id);
  return [
    ...op.set.map(({ field, before, after }) => ({ field: nameOf(field), before, after })),
    ...op.inc.map(({ field, by }) => ({ field: nameOf(field), by })),
    ...op.crdt.map(({ field, changes }) => ({ field: nameOf(field), crdtBytes: changes.length })),
  ];
};

interface Entry {
  readonly index: number;
  readonly opCount: number;
  readonly head: Uint8Array;
  readonly bytes: Uint8Array;
}

const operationsOf = (entry: Entry, customization: Customization): readonly LoggedOperation[] => {
  const common = {
    transaction: entry.index,
    operations: entry.opCount,
    head: toHex(entry.head),
  };
  const stored = openTransaction(entry.bytes, sha256);
  const payload = isLeft(stored) ? undefined : stored.right.payload;
  const decoded = payload === undefined ? undefined : decodeTransaction(payload);
  if (decoded === undefined || isLeft(decoded))
    return Array.from({ length: entry.opCount }, (_, at) => ({
      ...common,
      index: entry.index + at,
      erased: true,
      table: null,
      record: null,
      kind: null,
      at: null,
      changes: [],
    }));
  const { ops, hlc } = decoded.right;
  return ops.map((op, at) => ({
    ...common,
    index: entry.index + at,
    erased: false,
    table: customization.tables.find(({ id }) => id === op.table)?.name ?? String(op.table),
    record: op.record,
    kind: op.kind,
    at: hlc.wallMs,
    changes: changesOf(op, customization),
  }));
};

/**
 * Reads the log of a device, oldest operation first, a page at a time. The folder must not be open
 * elsewhere. Rejects as the store does; `store-missing` or an empty log where there is no device.
 */
export async function* readOpLog(
  folder: string,
  customization: Customization,
  from: number,
): AsyncGenerator<LoggedOperation> {
  const { openReplicaFolder } = await import('@tidemark/store-level/node');
  const { store } = await openReplicaFolder(folder, { hash: sha256, create: false });
  try {
    let next = Math.max(from, store.log.firstIndex());
    while (next <= store.log.end().lastIndex) {
      const entries = await store.log.read(next, readBytes);
      if (entries.length === 0) return;
      for (const entry of entries) {
        next = entry.index + entry.opCount;
        for (const operation of operationsOf(entry, customization))
          if (operation.index >= from) yield operation;
      }
    }
  } finally {
    await store.close();
  }
}
