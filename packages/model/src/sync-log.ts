/** Foreground shows progress and may take a destructive customization; background never blocks a save. */
export type SyncMode = 'foreground' | 'background';

/** How a run ended. `pending`: operations were sent but not all were decided in time. */
export type SyncResult = 'synced' | 'pending' | 'blocked' | 'failed' | 'cancelled';

/** What one run did to one table. */
export interface SyncTableLog {
  readonly table: string;
  readonly mode: 'full' | 'incremental' | 'repair';
  readonly upserts: number;
  readonly touches: number;
  readonly evicts: number;
}

/** Log entry of one sync run: kept on the device and sent to the server. Times in ms, sizes in bytes. */
export interface SyncLog {
  readonly run: string;
  readonly replica: string;
  readonly user: string;
  readonly mode: SyncMode;
  readonly startedOn: number;
  readonly endedOn: number;
  readonly result: SyncResult;
  /** Error code when failed or blocked. */
  readonly error: string | null;
  readonly uploadedOperations: number;
  readonly uploadedBytes: number;
  readonly downloadedBytes: number;
  readonly pages: number;
  readonly passes: number;
  /** Records and feed entries that the server read to answer. */
  readonly serverReads: number;
  readonly tables: readonly SyncTableLog[];
  readonly pendingOperations: number;
  readonly parked: number;
  /** Time spent in each phase. */
  readonly phases: Readonly<Record<string, number>>;
}
