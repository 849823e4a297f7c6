import {
  decodeRow,
  syncErrorFromFields,
  syncErrorsTable,
  utf8Decode,
  utf8Encode,
  type SyncErrorRow,
} from '@tidemark/model';
import type { ReplicaStore } from '@tidemark/ports';
import { logRuns, type LogRun } from './log-runs.js';
import type { ReplicaMeta } from './replica-meta.js';

const scanRowsMax = 500;
/** Note that keeps the open operations while no sync errors are held: the image was cleared. */
export const openNote = 'replica/open';

/** Own operations that wait for a person, as disjoint ranges of indexes: one entry per parked transaction. */
export class OpenRanges {
  readonly ranges: readonly (readonly [from: number, to: number])[];

  constructor(ranges: readonly (readonly [from: number, to: number])[]) {
    const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
    const merged: [number, number][] = [];
    for (const [from, to] of sorted) {
      const last = merged.at(-1);
      if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
      else merged.push([from, to]);
    }
    this.ranges = merged;
  }

  /** Tells whether the operation is open. */
  has(index: number): boolean {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.ranges[middle] as readonly [number, number])[1] < index) low = middle + 1;
      else high = middle;
    }
    const range = this.ranges[low];
    return range !== undefined && range[0] <= index;
  }

  /** Number of open operations. */
  count(): number {
    return this.ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  }

  /** Lowest open index; undefined when there is none. */
  first(): number | undefined {
    return this.ranges[0]?.[0];
  }
}

/** What of an open sync error lies in the replica's own log, whose parts are given. */
const ownRanges = (
  runs: readonly LogRun[],
  error: SyncErrorRow,
): readonly (readonly [number, number])[] => {
  if (error.state !== 'open') return [];
  return error.ranges.flatMap(({ epoch, from, to, replica = error.replica }) =>
    runs
      .filter((run) => run.replica === replica && run.epoch === epoch)
      .map((run) => [Math.max(from, run.from), Math.min(to, run.to)] as const)
      .filter(([first, last]) => first <= last),
  );
};

/** Reads the open operations from the sync errors in the given layers. */
export const readOpenRanges = async (
  store: ReplicaStore,
  meta: ReplicaMeta,
  layers: readonly number[],
): Promise<OpenRanges> => {
  const ranges: (readonly [number, number])[] = [];
  const runs = logRuns(meta);
  let after: string | undefined;
  for (;;) {
    const page = await store.scanRows('image', syncErrorsTable, {
      layers,
      limit: scanRowsMax,
      ...(after === undefined ? {} : { after }),
    });
    for (const { id, value } of page.rows)
      ranges.push(...ownRanges(runs, syncErrorFromFields(id, decodeRow(value).fields)));
    if (page.next === undefined) return new OpenRanges(ranges);
    after = page.next;
  }
};

/** Encodes open operations for the note. */
export const encodeOpenRanges = (open: OpenRanges): Uint8Array =>
  utf8Encode(JSON.stringify(open.ranges));

/** Open operations as of the current image, or as they were when it was cleared. */
export const readCurrentOpen = async (
  store: ReplicaStore,
  meta: ReplicaMeta,
): Promise<OpenRanges> => {
  const note = await store.readNote(openNote);
  if (note === undefined) return readOpenRanges(store, meta, meta.layers);
  return new OpenRanges(JSON.parse(utf8Decode(note)) as OpenRanges['ranges']);
};
