import type { Receipt, SyncMode, SyncTableLog, TableId } from '@tidemark/model';
import type {
  AbortSignalLike,
  Clock,
  Compression,
  Crypto,
  Entropy,
  Logger,
  Timer,
  Transport,
} from '@tidemark/ports';
import type { PageMode } from '@tidemark/protocol';
import type { Scope } from '@tidemark/filter';
import type { LocalReplica, StagedCounts } from '../local/local-replica.js';
import type { IdentityOptions } from './identity.js';
import type { ReplicaEvent } from './replica-event.js';
import type { LinkHolder } from './link-holder.js';
import type { LinkSpeed } from './link-speed.js';
import type { PagesAhead } from './page-ahead.js';
import type { PageSize } from './page-size.js';

/** When pages come packed: `auto` on slow links, and what the server has packed already on any link. */
export type CompressionMode = 'auto' | 'always' | 'never';

/** Everything that runs need from outside. */
export interface RunPorts {
  readonly local: LocalReplica;
  readonly transport: Transport;
  readonly scope: Scope;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly timer: Timer;
  readonly crypto: Crypto;
  /** Absent: pages travel as they are. */
  readonly compression?: Compression;
  /** `auto` when absent. */
  readonly compress?: CompressionMode;
  readonly logger?: Logger;
  /** Absent: a server that asks for signatures is not answered. */
  readonly identity?: IdentityOptions;
  readonly emit: (event: ReplicaEvent) => void;
}

/** What is going on, for people: bytes and operations so far, and the table that is downloaded. */
export interface SyncProgress {
  readonly uploadedOperations: number;
  readonly operationsToUpload: number;
  readonly downloadedBytes: number;
  readonly pages: number;
  /** Table that the last page belonged to, with the records done of those known. */
  readonly table: string | null;
  readonly done: number;
  readonly total: number;
}

interface TableCounts {
  mode: PageMode;
  upserts: number;
  touches: number;
  evicts: number;
}

/** Counters of one run: they become its SyncLog. */
export interface RunCounters {
  uploadedOperations: number;
  operationsToUpload: number;
  uploadedBytes: number;
  downloadedBytes: number;
  pages: number;
  passes: number;
  serverReads: number;
  readonly tables: Map<TableId, TableCounts>;
  table: string | null;
  done: number;
  total: number;
}

/** Work of one run: what its steps hand to each other. */
export interface RunContext {
  readonly ports: RunPorts;
  readonly links: LinkHolder;
  readonly pageSize: PageSize;
  readonly speed: LinkSpeed;
  readonly ahead: PagesAhead;
  readonly mode: SyncMode;
  readonly signal: AbortSignalLike;
  readonly counters: RunCounters;
  /** Tells listeners of the status that something moved. */
  readonly moved: () => void;
  /** Index up to which this run uploads: the end of the log when the run began. */
  target: number;
  /** Newest receipt of this run. */
  receipt: Receipt | null;
  /** Server's clock minus the replica's in ms. */
  offsetMs: number;
  /** Version of the newest customization that the server announced. */
  customizationVersion: number;
}

/** Counters of a run that has done nothing. */
export const noCounters = (): RunCounters => ({
  uploadedOperations: 0,
  operationsToUpload: 0,
  uploadedBytes: 0,
  downloadedBytes: 0,
  pages: 0,
  passes: 0,
  serverReads: 0,
  tables: new Map(),
  table: null,
  done: 0,
  total: 0,
});

/** Adds what pages did to the counters of a run. */
export const countStaged = (
  counters: RunCounters,
  mode: PageMode,
  staged: ReadonlyMap<TableId, StagedCounts>,
): void => {
  for (const [table, { upserts, touches, evicts }] of staged) {
    const known = counters.tables.get(table) ?? { mode, upserts: 0, touches: 0, evicts: 0 };
    // A fill that ends with a feed part stays a fill; a repair stays a repair.
    if (known.mode === 'incremental') known.mode = mode;
    known.upserts += upserts;
    known.touches += touches;
    known.evicts += evicts;
    counters.tables.set(table, known);
  }
};

/** Table part of a SyncLog. */
export const tableLogs = (
  counters: RunCounters,
  nameOf: (table: TableId) => string,
): readonly SyncTableLog[] =>
  [...counters.tables].map(([table, counts]) => ({ table: nameOf(table), ...counts }));
