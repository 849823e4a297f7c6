import { applyLocally, type KnownTexts, type LocalContext, type LocalRow } from '@tidemark/merge';
import {
  baseOfRow,
  decodeRow,
  encodeRow,
  fromBase64,
  TidemarkError,
  toBase64,
  rowText,
  utf8Decode,
  utf8Encode,
  type BaseVersion,
  type FieldId,
  type Operation,
  type Row,
} from '@tidemark/model';
import { appendRun, noRuns, type OpRuns } from './op-runs.js';

/**
 * Record as its user sees it while operations on it are pending: the image row with them applied.
 *
 * `row` keeps version, birth and times of the image row, or of the one last seen before the server deleted
 * it; `onImage` is false then, and when there never was one (version 0). `plain` names
 * text fields whose document the server does not share: they are edited by plain differences.
 * `beneath` stands in for the image while that lacks the record: the row before the first of `ops`.
 */
export interface PendingView {
  readonly onImage: boolean;
  readonly deleted: boolean;
  readonly ops: OpRuns;
  readonly plain: readonly FieldId[];
  /** Author's own documents (base64) of such fields as they were before the first of `ops`. */
  readonly start: Readonly<Record<FieldId, string>>;
  readonly beneath: Row | null;
  readonly row: Row;
}

const viewFormat = 1;
const placeOfHead = '\0'.repeat(5);

/** View of an image row without operations. */
export const viewOfImage = (row: Row): PendingView => ({
  onImage: true,
  deleted: false,
  ops: noRuns,
  plain: [],
  start: {},
  beneath: null,
  row,
});

/** What an operation on this view names as its base. */
export const baseOfView = (view: PendingView | null): BaseVersion | null =>
  view !== null && view.row.version.n > 0 ? baseOfRow(view.row) : null;

const blankRow = (user: string, wallMs: number): Row => ({
  version: { incarnation: 0, n: 0 },
  born: '',
  modifiedOn: wallMs,
  modifiedBy: user,
  createdOn: wallMs,
  owner: user,
  fields: {},
  docs: {},
  editedAt: {},
});

/** Row of a view whose operations found no record to apply to: neither on the image nor of an own create. */
const unseenRow: Row = blankRow('', 0);

const isUnseen = ({ deleted, row }: PendingView): boolean =>
  deleted && row.version.n === 0 && row.createdOn === 0 && row.owner === '';

/** Where a view's operations come from, and with what they are applied. */
export interface ViewContext extends LocalContext {
  readonly user: string;
}

/**
 * View with one more operation. Total: what cannot apply shows nothing, and the operation stays listed.
 */
export const viewWith = (
  view: PendingView | null,
  op: Operation,
  index: number,
  wallMs: number,
  context: ViewContext,
  known?: KnownTexts,
): PendingView => {
  const seen = view === null || isUnseen(view) ? undefined : view;
  const start: LocalRow | undefined = seen && {
    fields: seen.row.fields,
    docs: seen.row.docs,
    deleted: seen.deleted,
    plain: seen.plain,
  };
  const next = applyLocally(start, op, context, known);
  const row = seen?.row ?? (next === undefined ? unseenRow : blankRow(context.user, wallMs));
  return {
    onImage: view?.onImage === true,
    deleted: next === undefined || next.deleted,
    ops: appendRun(view?.ops ?? noRuns, index),
    plain: next?.plain ?? [],
    start: view?.start ?? {},
    beneath: view?.beneath ?? null,
    row: next === undefined || next.deleted ? row : withFields(row, next),
  };
};

/** Member by member: spreading and then overwriting costs ten times as much. */
const withFields = (row: Row, { fields, docs }: LocalRow): Row => ({
  version: row.version,
  born: row.born,
  modifiedOn: row.modifiedOn,
  modifiedBy: row.modifiedBy,
  createdOn: row.createdOn,
  owner: row.owner,
  fields,
  docs,
  editedAt: row.editedAt,
});

/** JSON part of a view. Written by hand where it is always the same: `JSON.stringify` takes several times as long. */
const headOf = (view: PendingView): string => {
  const { ops, plain, start, beneath } = view;
  let runs = '';
  for (const [first, length] of ops) runs += `${runs === '' ? '' : ','}[${first},${length}]`;
  let rest = plain.length === 0 ? '[]' : JSON.stringify(plain);
  if (beneath !== null || Object.keys(start).length > 0) rest += `,${JSON.stringify(start)}`;
  if (beneath !== null) rest += `,"${toBase64(encodeRow(beneath))}"`;
  return `[${view.onImage ? 1 : 0},${view.deleted ? 1 : 0},[${runs}],${rest}]`;
};

/** Encodes a view: format, length of the JSON part (4 bytes, big-endian), JSON part, row bytes. */
export const encodeView = (view: PendingView): Uint8Array => {
  // Numbers and base64 only, hence ASCII: as many bytes as characters.
  const head = headOf(view);
  const { length } = head;
  // One text, encoded once: five characters keep the place of format and length.
  const bytes = utf8Encode(placeOfHead + head + rowText(view.row));
  bytes[0] = viewFormat;
  bytes[1] = length >>> 24;
  bytes[2] = length >>> 16;
  bytes[3] = length >>> 8;
  bytes[4] = length;
  return bytes;
};

const headLength = (bytes: Uint8Array): number =>
  (((bytes[1] as number) << 24) |
    ((bytes[2] as number) << 16) |
    ((bytes[3] as number) << 8) |
    (bytes[4] as number)) >>>
  0;

/** Bytes of the row in an encoded view: what else the view keeps is no part of the record. */
export const rowBytesOf = (view: Uint8Array): number => view.length - 5 - headLength(view);

const readOrDamaged = <A>(read: () => A): A => {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof TidemarkError) throw cause;
    throw new TidemarkError('storage-damaged', 'the view of a record has another form', {}, cause);
  }
};

/** Decodes a view that this engine wrote. Throws `storage-damaged` for another form. */
export const decodeView = (bytes: Uint8Array): PendingView => readOrDamaged(() => readView(bytes));

/** Operations of an encoded view, whose row stays as it is. Throws `storage-damaged` for another form. */
export const opsOfView = (bytes: Uint8Array): OpRuns => readOrDamaged(() => readHead(bytes)[2]);

const readHead = (
  bytes: Uint8Array,
): [number, number, OpRuns, readonly FieldId[], Readonly<Record<FieldId, string>>?, string?] =>
  JSON.parse(utf8Decode(bytes.subarray(5, 5 + headLength(bytes)))) as ReturnType<typeof readHead>;

const readView = (bytes: Uint8Array): PendingView => {
  const length = headLength(bytes);
  const head = readHead(bytes);
  const beneath = head[5] === undefined ? undefined : fromBase64(head[5]);
  return {
    onImage: head[0] === 1,
    deleted: head[1] === 1,
    ops: head[2],
    plain: head[3],
    start: head[4] ?? {},
    beneath: beneath === undefined ? null : decodeRow(beneath),
    row: decodeRow(bytes.subarray(5 + length)),
  };
};
