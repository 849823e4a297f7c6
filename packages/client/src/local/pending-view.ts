import {
  baseOfRow,
  decodeRow,
  encodeRow,
  utf8Decode,
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
  // Numbers only, hence ASCII: as many bytes as characters.
  const head = JSON.stringify([view.onImage ? 1 : 0, view.deleted ? 1 : 0, view.ops, view.plain]);
  const row = encodeRow(view.row);
  const { length } = head;
  const bytes = new Uint8Array(5 + length + row.length);
  bytes[0] = viewFormat;
  bytes[1] = length >>> 24;
  bytes[2] = length >>> 16;
  bytes[3] = length >>> 8;
  bytes[4] = length;
  for (let i = 0; i < length; i += 1) bytes[5 + i] = head.charCodeAt(i);
  bytes.set(row, 5 + length);
  return bytes;
};

/** Decodes a view that this engine wrote. */
export const decodeView = (bytes: Uint8Array): PendingView => {
  const length =
    (((bytes[1] as number) << 24) |
      ((bytes[2] as number) << 16) |
      ((bytes[3] as number) << 8) |
      (bytes[4] as number)) >>>
    0;
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
