import {
  baseOfRow,
  concatBytes,
  decodeRow,
  encodeRow,
  utf8Decode,
  utf8Encode,
  type BaseVersion,
  type FieldId,
  type Row,
} from '@tidemark/model';
import { noRuns, type OpRuns } from './op-runs.js';

/**
 * Record as its user sees it while operations on it are pending: the image row with them applied.
 *
 * `row` keeps version, birth and times of the image row; with `onImage` false there is none. `plain` names
 * text fields whose document the server does not share: they are edited by plain differences.
 */
export interface PendingView {
  readonly onImage: boolean;
  readonly deleted: boolean;
  readonly ops: OpRuns;
  readonly plain: readonly FieldId[];
  readonly row: Row;
}

const viewFormat = 1;

/** View of an image row without operations. */
export const viewOfImage = (row: Row): PendingView => ({
  onImage: true,
  deleted: false,
  ops: noRuns,
  plain: [],
  row,
});

/** What an operation on this view names as its base. */
export const baseOfView = (view: PendingView | null): BaseVersion | null =>
  view?.onImage === true ? baseOfRow(view.row) : null;

/** Encodes a view: format, length of the JSON part (4 bytes, big-endian), JSON part, row bytes. */
export const encodeView = (view: PendingView): Uint8Array => {
  const head = utf8Encode(
    JSON.stringify([view.onImage ? 1 : 0, view.deleted ? 1 : 0, view.ops, view.plain]),
  );
  const prefix = new Uint8Array(5);
  prefix[0] = viewFormat;
  new DataView(prefix.buffer).setUint32(1, head.length);
  return concatBytes([prefix, head, encodeRow(view.row)]);
};

/** Decodes a view that this engine wrote. */
export const decodeView = (bytes: Uint8Array): PendingView => {
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1);
  const head = JSON.parse(utf8Decode(bytes.subarray(5, 5 + length))) as [
    number,
    number,
    OpRuns,
    readonly FieldId[],
  ];
  return {
    onImage: head[0] === 1,
    deleted: head[1] === 1,
    ops: head[2],
    plain: head[3],
    row: decodeRow(bytes.subarray(5 + length)),
  };
};
