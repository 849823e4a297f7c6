import {
  decodeRow,
  encodeRow,
  fieldBytesOfRow,
  type RecordId,
  type Row,
  type TableId,
} from '@tidemark/model';
import { compareTexts } from '@tidemark/filter';
import type { LayerRow } from '@tidemark/ports';
import { decodeView } from './pending-view.js';
import type { ReplicaCore } from './replica-core.js';

/** Tries to read without holding up writers before a reader takes the write turn itself. */
const freeReadsMax = 2;

/** Record as it is visible: row of the image, or the view of pending operations over it. */
export interface VisibleRow {
  readonly id: RecordId;
  readonly row: Row;
}

/** Visible rows after a position, and where to go on: undefined at the end. */
export interface VisiblePage {
  readonly rows: readonly VisibleRow[];
  readonly next: RecordId | undefined;
}

const visible = (view: Uint8Array | undefined, image: Uint8Array | undefined): Row | undefined => {
  if (view === undefined) return image === undefined ? undefined : decodeRow(image);
  const decoded = decodeView(view);
  return decoded.deleted ? undefined : decoded.row;
};

/** Visible rows of the given ids, in their order. */
export const visibleRows = async (
  core: ReplicaCore,
  table: TableId,
  ids: readonly RecordId[],
): Promise<readonly (Row | undefined)[]> => {
  const stack = core.readStack(table);
  // The view first: an edit that comes in between only adds to it, the image beneath stays.
  const views = await core.store.getRows('view', table, ids, stack);
  const plain: number[] = [];
  views.forEach((view, i) => {
    if (view === undefined) plain.push(i);
  });
  const images =
    plain.length === 0
      ? []
      : await core.store.getRows(
          'image',
          table,
          plain.map((i) => ids[i] as RecordId),
          stack,
        );
  const rows = views.map((view) => (view === undefined ? undefined : visible(view, undefined)));
  plain.forEach((at, i) => {
    rows[at] = visible(undefined, images[i]);
  });
  return rows;
};

const before = (id: RecordId, bound: RecordId | undefined): boolean =>
  bound === undefined || compareTexts(id, bound) <= 0;

/** Merges a page of image rows with a page of views, up to where both are known. */
const mergeRows = <A>(
  images: readonly LayerRow[],
  views: readonly LayerRow[],
  bound: RecordId | undefined,
  show: (
    id: RecordId,
    view: Uint8Array | undefined,
    image: Uint8Array | undefined,
  ) => A | undefined,
): A[] => {
  const out: A[] = [];
  let i = 0;
  let v = 0;
  for (;;) {
    const image = images[i];
    const view = views[v];
    const order =
      image === undefined ? 1 : view === undefined ? -1 : compareTexts(image.id, view.id);
    const next = order < 0 ? image : view;
    if (next === undefined || !before(next.id, bound)) return out;
    if (order <= 0) i += 1;
    if (order >= 0) v += 1;
    const row = show(next.id, order >= 0 ? view?.value : undefined, image?.value);
    if (row !== undefined) out.push(row);
  }
};

const scanMerged = async <A>(
  core: ReplicaCore,
  table: TableId,
  after: RecordId | undefined,
  limit: number,
  show: Parameters<typeof mergeRows<A>>[3],
): Promise<{ readonly rows: readonly A[]; readonly next: RecordId | undefined }> => {
  const options = {
    layers: core.readStack(table),
    limit,
    ...(after === undefined ? {} : { after }),
  };
  const images = await core.store.scanRows('image', table, options);
  // Behind an upload there are as many markers of views as there were edits, and a scan passes over markers:
  // without the bound each page would read all of them.
  const views = await core.store.scanRows('view', table, {
    ...options,
    ...(images.next === undefined ? {} : { upTo: images.next }),
  });
  const bounds = [images.next, views.next].filter((next) => next !== undefined);
  const next =
    bounds.length < 2
      ? bounds[0]
      : compareTexts(bounds[0] as string, bounds[1] as string) < 0
        ? bounds[0]
        : bounds[1];
  return { rows: mergeRows(images.rows, views.rows, next, show), next };
};

/** Scans visible rows in id order: a page of at most about `limit` rows. */
export const scanVisible = (
  core: ReplicaCore,
  table: TableId,
  after: RecordId | undefined,
  limit: number,
): Promise<VisiblePage> =>
  scanMerged(core, table, after, limit, (id, view, image) => {
    const row = visible(view, image);
    return row && { id, row };
  });

/** Content of a visible record: canonical JSON of its fields. */
export interface VisibleContent {
  readonly id: RecordId;
  readonly fields: Uint8Array;
}

/** Like `scanVisible`, without decoding rows of the image. */
export const scanContents = (
  core: ReplicaCore,
  table: TableId,
  after: RecordId | undefined,
  limit: number,
): Promise<{ readonly rows: readonly VisibleContent[]; readonly next: RecordId | undefined }> =>
  scanMerged(core, table, after, limit, (id, view, image) => {
    if (view === undefined)
      return image === undefined ? undefined : { id, fields: fieldBytesOfRow(image) };
    const row = visible(view, image);
    return row && { id, fields: fieldBytesOfRow(encodeRow(row)) };
  });

/**
 * Runs a read of several steps so that it sees one state of the table: again when a write came in
 * between, at last while holding the write turn.
 */
export const consistentRead = async <A>(
  core: ReplicaCore,
  table: TableId,
  read: () => Promise<A>,
): Promise<A> => {
  core.turn.check();
  for (let i = 0; i < freeReadsMax; i += 1) {
    if (core.stamps.isWriting(table)) await core.turn.idle();
    const stamp = core.stamps.table(table);
    const result = await read();
    if (core.stamps.table(table) === stamp && !core.stamps.isWriting(table)) return result;
  }
  return core.turn.run(read);
};

/** Runs a read of one record, which only a change of layers can disturb. */
export const layoutRead = async <A>(core: ReplicaCore, read: () => Promise<A>): Promise<A> => {
  core.turn.check();
  for (let i = 0; i < freeReadsMax; i += 1) {
    const stamp = core.stamps.layout();
    const moving = core.stamps.isMoving();
    const result = await read();
    if (!moving && core.stamps.layout() === stamp && !core.stamps.isMoving()) return result;
  }
  return core.turn.run(read);
};
