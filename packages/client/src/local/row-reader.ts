import { decodeRow, type RecordId, type Row, type TableId } from '@tidemark/model';
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
const mergeRows = (
  images: readonly LayerRow[],
  views: readonly LayerRow[],
  bound: RecordId | undefined,
): VisibleRow[] => {
  const out: VisibleRow[] = [];
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
    const row = visible(order >= 0 ? view?.value : undefined, image?.value);
    if (row !== undefined) out.push({ id: next.id, row });
  }
};

/** Scans visible rows in id order: a page of at most about `limit` rows. */
export const scanVisible = async (
  core: ReplicaCore,
  table: TableId,
  after: RecordId | undefined,
  limit: number,
): Promise<VisiblePage> => {
  const options = {
    layers: core.readStack(table),
    limit,
    ...(after === undefined ? {} : { after }),
  };
  const [images, views] = await Promise.all([
    core.store.scanRows('image', table, options),
    core.store.scanRows('view', table, options),
  ]);
  const bounds = [images.next, views.next].filter((next) => next !== undefined);
  const next =
    bounds.length < 2
      ? bounds[0]
      : compareTexts(bounds[0] as string, bounds[1] as string) < 0
        ? bounds[0]
        : bounds[1];
  return { rows: mergeRows(images.rows, views.rows, next), next };
};

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
