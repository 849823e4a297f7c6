import type { FieldId, ServerVersion, TableId } from '@tidemark/model';
import { TidemarkError, utf8Decode, utf8Encode } from '@tidemark/model';

/** Newest format of the replica's stored state. */
export const replicaFormat = 1;

/** How a table of the image stands: never filled, filling for the first time, or current to its watermark. */
export type TableState = 'empty' | 'filling' | 'current';

/** What the replica knows of one table of its image. */
export interface TableMeta {
  readonly state: TableState;
  /** Watermark: server version (n) to which the table is current; 0 before the first flip. */
  readonly at: number;
  /** Server time (ms) of that version. */
  readonly asOfMs: number;
  /** Own operations up to this index are contained in the table's image, unless they are open. */
  readonly mergedTo: number;
  /** Set when the image may be damaged or incomplete: the next run repairs the table by difference. */
  readonly repair: boolean;
}

/** Index that the image keeps. `no` is stable; a number is never used for other fields. */
export interface IndexMeta {
  readonly no: number;
  readonly fields: readonly FieldId[];
  /** False until the backfill of an index that a newer customization added is done. */
  readonly ready: boolean;
}

/** What a closing page says: everything that the flip needs, so that a restart can finish it alone. */
export interface Closing {
  readonly cursor: string;
  readonly incarnation: number;
  /** Version (n) to which the covered tables are current after the flip. */
  readonly to: number;
  readonly asOfMs: number;
  /** Tables that the pull covers. System tables are always covered too. */
  readonly tables: readonly TableId[];
  /** Own operations up to here are contained in the covered tables, as of `to`. */
  readonly mergedTo: number;
}

/** Why pages are staged: `pull` of a feed or fill, or `repair` by comparison. */
export type StagingKind = 'pull' | 'repair';

/** State of a staging that is under way; it survives a restart. */
export interface StagingMeta {
  readonly layer: number;
  readonly kind: StagingKind;
  /** Cursor from which the next page is asked; null at the start. */
  readonly cursor: string | null;
  /** Progress that the run keeps for itself, such as the last key of a repair. At most 4 KB. */
  readonly progress: string;
  /** Tables that were empty when the staging began: they are read while they fill. */
  readonly filling: readonly TableId[];
  /** Entries written so far: a layer without any is not kept. */
  readonly entries: number;
  /** Set once the closing page came: views are being put on the new image. */
  readonly closing: {
    readonly info: Closing;
    /** Last record of filled tables whose index entries are stored; null when that is done, absent in states of older versions. */
    readonly indexed?: { readonly table: TableId; readonly id: string } | null;
    /** Index up to which operations that come back were taken in; null when that is done. */
    readonly returning: number | null;
    /** Last record whose view is staged, in the order of table and id. */
    readonly table: TableId;
    readonly id: string;
  } | null;
}

/** Replica that this one continued as a clone, with the last index that it shares. */
export interface OriginMeta {
  readonly replica: string;
  readonly lastIndex: number;
  /** Epoch of that replica under which it was shared; absent in states of older versions. */
  readonly epoch?: number;
}

/**
 * Durable state of a replica, beside its log and image. Indexes count operations of the log; 0 means none.
 */
export interface ReplicaMeta {
  readonly format: number;
  readonly tenant: string;
  readonly user: string;
  readonly replica: string;
  /** Epoch granted by the server; 0 before the first grant. */
  readonly epoch: number;
  /** Random id (hexadecimal) of the epoch that waits for its grant, or of the one granted last. */
  readonly provisional: string;
  /** True while the epoch `provisional` waits for its grant: nothing may be published. */
  readonly awaitsGrant: boolean;
  /** First index of each epoch, oldest first: at most 64. */
  readonly epochStarts: readonly (readonly [epoch: number, from: number])[];
  readonly origins: readonly OriginMeta[];
  readonly publishedTo: number;
  /** From the newest receipt; the view follows only with a flip. */
  readonly mergedTo: number;
  readonly archivedTo: number;
  /** True when another grant ended the epoch: the replica must take a new id. */
  readonly ended: boolean;
  readonly incarnation: number;
  /** Server version (n) of the last flip, or a newer one seen in a receipt. */
  readonly version: number;
  readonly cursor: string | null;
  readonly tables: Readonly<Record<TableId, TableMeta>>;
  readonly indexes: Readonly<Record<TableId, readonly IndexMeta[]>>;
  /** Layers of the image, newest first. */
  readonly layers: readonly number[];
  /** Entries of each layer when it was staged: small layers are folded first. */
  readonly layerEntries: Readonly<Record<number, number>>;
  /** Number of the next layer: numbers are never used twice. */
  readonly nextLayer: number;
  /** Number of the next run of an index: numbers are never used twice. Absent before the first one. */
  readonly nextRun?: number;
  /** Layers that are no longer read and wait to be cleared. */
  readonly discarded: readonly number[];
  readonly staging: StagingMeta | null;
  readonly customizationVersion: number;
  /** Canonical text and hash (hexadecimal) of the scope; empty before the first run. */
  readonly scopeText: string;
  readonly scopeHash: string;
  /** Keys (hexadecimal) that sign the server's receipts, learned at enrolment; absent before. */
  readonly receiptKeys?: readonly string[];
}

/** Highest number of epochs whose starts are remembered. */
export const epochStartsMax = 64;

/** Builds the state of a new replica. */
export const initialMeta = (who: {
  readonly tenant: string;
  readonly user: string;
  readonly replica: string;
  readonly provisional: string;
}): ReplicaMeta => ({
  format: replicaFormat,
  ...who,
  epoch: 0,
  awaitsGrant: true,
  epochStarts: [],
  origins: [],
  publishedTo: 0,
  mergedTo: 0,
  archivedTo: 0,
  ended: false,
  incarnation: 0,
  version: 0,
  cursor: null,
  tables: {},
  indexes: {},
  layers: [1],
  layerEntries: {},
  nextLayer: 2,
  discarded: [],
  staging: null,
  customizationVersion: 0,
  scopeText: '',
  scopeHash: '',
});

const emptyTable: TableMeta = { state: 'empty', at: 0, asOfMs: 0, mergedTo: 0, repair: false };

/** State of a table; a table that was never downloaded is empty. */
export const tableMeta = (meta: ReplicaMeta, table: TableId): TableMeta =>
  meta.tables[table] ?? emptyTable;

/** Epoch that an operation index belongs to; 0 while it waits for its grant. */
export const epochOfIndex = (meta: ReplicaMeta, index: number): number => {
  let found = 0;
  for (const [epoch, from] of meta.epochStarts) if (index >= from) found = epoch;
  return found;
};

/** Lowest server version that the replica accepts. */
export const seenVersion = (meta: ReplicaMeta): ServerVersion => ({
  incarnation: meta.incarnation,
  n: meta.version,
});

/** Encodes the state as JSON. */
export const encodeMeta = (meta: ReplicaMeta): Uint8Array => utf8Encode(JSON.stringify(meta));

/** Decodes the state that this engine wrote. Throws `newer-format` when a newer version wrote it. */
export const decodeMeta = (bytes: Uint8Array): ReplicaMeta => {
  const meta = JSON.parse(utf8Decode(bytes)) as ReplicaMeta;
  if (meta.format > replicaFormat)
    throw new TidemarkError('newer-format', 'the replica was written by a newer version', {
      format: meta.format,
    });
  return meta;
};
