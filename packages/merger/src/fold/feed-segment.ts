import { isSameDocument } from '@tidemark/merge';
import {
  decodeRow,
  encodeRow,
  equalValues,
  utf8Decode,
  utf8Encode,
  type FieldId,
  type RecordId,
  type Row,
  type RowFields,
  type ServerVersion,
  type TableId,
  type Value,
} from '@tidemark/model';
import { checkedFormat, damagedForm, storedForm } from './stored-form.js';
import { isLong, TextDeltas, type TextDelta } from './text-deltas.js';

/** What happened to a record: `restore` is an edit that brought a tombstone back. */
export type FeedKind = 'create' | 'update' | 'delete' | 'restore';

/** Change of a record at version `n`. */
export interface FeedChange {
  readonly id: RecordId;
  readonly n: number;
  readonly kind: FeedKind;
}

/** Change with what it takes to undo it: `before` is null when the record was not live before (create, restore). */
export interface FeedEntry extends FeedChange {
  readonly before: FeedBefore | null;
}

/**
 * Before-image. An update keeps the changed fields; a delete keeps the whole row (`row` bytes as stored).
 *
 * CRDT documents are not kept by updates: `docs` names the fields whose document changed.
 */
export type FeedBefore =
  | {
      readonly kind: 'fields';
      readonly version: ServerVersion;
      readonly modifiedOn: number;
      readonly modifiedBy: string;
      readonly owner: string;
      /** Previous values of the changed fields; null where there was none. */
      readonly fields: Readonly<Record<FieldId, Value>>;
      readonly docs: readonly FieldId[];
      /** Previous `editedAt` of the fields whose time changed; 0 where there was none. */
      readonly editedAt: Readonly<Record<FieldId, number>>;
    }
  | { readonly kind: 'row'; readonly row: Uint8Array };

/** Header of a feed segment. */
export interface FeedHeader {
  readonly table: TableId;
  readonly incarnation: number;
  readonly first: number;
  readonly last: number;
  readonly count: number;
}

/** Feed segment whose columns are decoded when they are asked for. */
export interface FeedSegment {
  readonly header: FeedHeader;
  /** Distinct record ids inside, sorted by UTF-16 units. */
  readonly ids: () => readonly RecordId[];
  /** Changes in version order, then id order: their before-images, the greatest part of a segment, stay bytes. */
  readonly changes: () => readonly FeedChange[];
  /** The same with their before-images. */
  readonly entries: () => readonly FeedEntry[];
}

/** Newest format of feed segments: in the second, long texts are written as changes. */
export const feedSegmentFormat = 2;

/** Bytes of a change without its before-image: place of its id (4), version behind the first (4), kind. */
const changeBytes = 9;

const kinds: readonly FeedKind[] = ['create', 'update', 'delete', 'restore'];

type BeforeJson =
  | 0
  | string
  | readonly [
      incarnation: number,
      n: number,
      modifiedOn: number,
      modifiedBy: string,
      owner: string,
      fields: WrittenFields,
      docs: readonly FieldId[] | 0,
      editedAt: Readonly<Record<FieldId, number>> | 0,
    ];

const isEmpty = (object: object): boolean => {
  for (const _ in object) return false;
  return true;
};

type WrittenFields = Readonly<Record<FieldId, Value | TextDelta>>;

const writtenFields = (deltas: TextDeltas, record: RecordId, fields: RowFields): WrittenFields => {
  let out: Record<FieldId, Value | TextDelta> | undefined;
  for (const key in fields) {
    const field = Number(key);
    const value = fields[field] as Value;
    if (isLong(value)) (out ??= { ...fields })[field] = deltas.write(field, record, value);
  }
  return out ?? fields;
};

const readFields = (deltas: TextDeltas, record: RecordId, fields: WrittenFields): RowFields => {
  const out = fields as Record<FieldId, Value>;
  for (const key in fields) {
    const field = Number(key);
    const value = fields[field] as Value | TextDelta;
    // What JSON.parse made belongs to nobody else.
    if (isLong(value)) out[field] = deltas.read(field, record, value);
  }
  return out;
};

const beforeJson = (deltas: TextDeltas, { id, before }: FeedEntry): BeforeJson => {
  if (before === null) return 0;
  if (before.kind === 'row') return utf8Decode(before.row);
  return [
    before.version.incarnation,
    before.version.n,
    before.modifiedOn,
    before.modifiedBy,
    before.owner,
    writtenFields(deltas, id, before.fields),
    before.docs.length === 0 ? 0 : before.docs,
    isEmpty(before.editedAt) ? 0 : before.editedAt,
  ];
};

const beforeFromJson = (
  deltas: TextDeltas,
  record: RecordId,
  json: BeforeJson,
): FeedBefore | null => {
  if (json === 0) return null;
  if (typeof json === 'string') return { kind: 'row', row: utf8Encode(json) };
  return {
    kind: 'fields',
    version: { incarnation: json[0], n: json[1] },
    modifiedOn: json[2],
    modifiedBy: json[3],
    owner: json[4],
    fields: readFields(deltas, record, json[5]),
    docs: json[6] === 0 ? [] : json[6],
    editedAt: json[7] === 0 ? {} : json[7],
  };
};

const joinSections = (format: number, sections: readonly Uint8Array[]): Uint8Array => {
  let length = 1;
  for (const section of sections) length += 4 + section.length;
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  out[0] = format;
  let at = 1;
  for (const section of sections) {
    view.setUint32(at, section.length);
    out.set(section, at + 4);
    at += 4 + section.length;
  }
  return out;
};

/**
 * Segment of the feed that is being written, entry by entry in version order. Integers big-endian: format
 * byte, then sections with 4-byte lengths: header (JSON), distinct ids (JSON, sorted), per entry 9 bytes
 * {position in ids (4), n - first (4), kind}, before-images (JSON). Of long texts only changes are held (see
 * `TextDeltas`), also until the segment is encoded.
 */
export class FeedDraft {
  readonly #changes: FeedChange[] = [];
  readonly #befores: BeforeJson[] = [];
  readonly #deltas = new TextDeltas();

  add(entry: FeedEntry): void {
    this.#changes.push({ id: entry.id, n: entry.n, kind: entry.kind });
    this.#befores.push(beforeJson(this.#deltas, entry));
  }

  get changes(): readonly FeedChange[] {
    return this.#changes;
  }

  /** Bytes of the segment; it holds at least one entry. */
  encode(table: TableId, incarnation: number): Uint8Array {
    const changes = this.#changes;
    const first = (changes[0] as FeedChange).n;
    const last = (changes[changes.length - 1] as FeedChange).n;
    const ids = [...new Set(changes.map(({ id }) => id))].sort();
    const place = new Map<string, number>();
    for (let i = 0; i < ids.length; i += 1) place.set(ids[i] as string, i);
    const rows = new Uint8Array(changes.length * changeBytes);
    const view = new DataView(rows.buffer);
    for (let i = 0; i < changes.length; i += 1) {
      const { id, n, kind } = changes[i] as FeedChange;
      view.setUint32(changeBytes * i, place.get(id) as number);
      view.setUint32(changeBytes * i + 4, n - first);
      rows[changeBytes * i + 8] = kinds.indexOf(kind);
    }
    // Earlier programs look for values of the scope key at the end: null sends them to the entries.
    const header = [table, incarnation, first, last, changes.length, null];
    return joinSections(this.#deltas.hasChanges ? feedSegmentFormat : 1, [
      utf8Encode(JSON.stringify(header)),
      utf8Encode(JSON.stringify(ids)),
      rows,
      utf8Encode(JSON.stringify(this.#befores)),
    ]);
  }
}

const sectionsOf = (bytes: Uint8Array): readonly Uint8Array[] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sections: Uint8Array[] = [];
  for (let at = 1; at < bytes.length;) {
    const length = view.getUint32(at);
    sections.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return sections;
};

const parse = (bytes: Uint8Array | undefined): unknown =>
  JSON.parse(utf8Decode(bytes as Uint8Array)) as unknown;

const what = 'a segment of the feed';

/**
 * Opens a feed segment that this engine wrote: reads its header, and its columns when asked for. Both throw
 * TidemarkError `storage-damaged` on other bytes.
 */
export const decodeFeedSegment = (bytes: Uint8Array): FeedSegment =>
  storedForm(what, () => openFeedSegment(bytes));

const openFeedSegment = (bytes: Uint8Array): FeedSegment => {
  checkedFormat(what, bytes, feedSegmentFormat);
  const sections = sectionsOf(bytes);
  const [table, incarnation, first, last, count] = parse(sections[0]) as readonly number[] as [
    number,
    number,
    number,
    number,
    number,
  ];
  let ids: readonly RecordId[] | undefined;
  let entries: readonly FeedEntry[] | undefined;
  const readIds = (): readonly RecordId[] => (ids ??= parse(sections[1]) as readonly RecordId[]);
  const readChanges = (): readonly FeedChange[] => {
    const rows = sections[2] as Uint8Array;
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    const all = readIds();
    const changes: FeedChange[] = [];
    for (let at = 0; at < rows.length; at += changeBytes) {
      const id = all[view.getUint32(at)];
      const kind = kinds[rows[at + 8] as number];
      if (id === undefined || kind === undefined) throw damagedForm(what);
      changes.push({ id, n: first + view.getUint32(at + 4), kind });
    }
    return changes;
  };
  const readEntries = (): readonly FeedEntry[] => {
    const befores = parse(sections[3]) as readonly BeforeJson[];
    const changes = readChanges();
    if (befores.length !== changes.length) throw damagedForm(what);
    const deltas = new TextDeltas();
    return changes.map((change, i) => ({
      ...change,
      before: beforeFromJson(deltas, change.id, befores[i] as BeforeJson),
    }));
  };
  return {
    header: { table, incarnation, first, last, count },
    ids: () => ids ?? storedForm(what, readIds),
    changes: () => entries ?? storedForm(what, readChanges),
    entries: () => (entries ??= storedForm(what, readEntries)),
  };
};

/** Live row at an earlier version. */
export interface RewoundRow {
  readonly row: Row;
  /** Fields whose CRDT document is newer than the row: the feed keeps no documents. */
  readonly newerDocs: readonly FieldId[];
}

const undoFields = (row: Row, before: FeedBefore & { readonly kind: 'fields' }): Row => {
  const fields: Record<FieldId, Value> = { ...row.fields };
  for (const key in before.fields) {
    const id = Number(key);
    const value = before.fields[id] as Value;
    if (value === null) delete fields[id];
    else fields[id] = value;
  }
  const editedAt: Record<FieldId, number> = { ...row.editedAt };
  for (const key in before.editedAt) {
    const id = Number(key);
    const time = before.editedAt[id] as number;
    if (time === 0) delete editedAt[id];
    else editedAt[id] = time;
  }
  const { version, modifiedOn, modifiedBy, owner } = before;
  return { ...row, version, modifiedOn, modifiedBy, owner, fields, editedAt };
};

/**
 * Row of a record before the given changes: `at(v)` when `entries` are all changes after v, ascending.
 *
 * `current` is the live row now, undefined when the record is deleted or absent. Undefined: it was not
 * live at that version.
 */
export const rewindRow = (
  current: Row | undefined,
  entries: readonly FeedEntry[],
): RewoundRow | undefined => {
  let row = current;
  let newerDocs = new Set<FieldId>();
  for (let i = entries.length - 1; i >= 0; i -= 1) {
    const before = (entries[i] as FeedEntry).before;
    if (before === null) row = undefined;
    else if (before.kind === 'row') {
      row = decodeRow(before.row);
      newerDocs = new Set();
    } else if (row !== undefined) {
      row = undoFields(row, before);
      for (const field of before.docs) newerDocs.add(field);
    }
  }
  return row === undefined ? undefined : { row, newerDocs: [...newerDocs].sort((a, b) => a - b) };
};

/** Values before of the fields that differ; null where there was none. */
const changedFields = (before: RowFields, after: RowFields): Record<FieldId, Value> => {
  const fields: Record<FieldId, Value> = {};
  // V8 lists numeric keys faster than it visits them.
  let common = 0;
  for (const key of Object.keys(before) as unknown as readonly FieldId[]) {
    const value = before[key] as Value;
    const now = after[key];
    if (now !== undefined) common += 1;
    if (value !== now && !equalValues(value, now ?? null)) fields[key] = value;
  }
  const keys = Object.keys(after);
  if (keys.length > common)
    for (const key of keys) if (!(key in before)) fields[Number(key)] = null;
  return fields;
};

/** Before-image of a change from one row of a record to the next one. */
export const feedEntry = (
  id: RecordId,
  n: number,
  before: { readonly row: Row; readonly deleted: boolean } | undefined,
  after: { readonly row: Row; readonly deleted: boolean },
): FeedEntry | null => {
  if (before === undefined || before.deleted) {
    if (after.deleted) return null;
    const restored = before !== undefined && before.row.born === after.row.born;
    return { id, n, kind: restored ? 'restore' : 'create', before: null };
  }
  if (after.deleted)
    return { id, n, kind: 'delete', before: { kind: 'row', row: encodeRow(before.row) } };
  const old = before.row;
  const fields = changedFields(old.fields, after.row.fields);
  const docs: FieldId[] = [];
  for (const key in after.row.docs)
    if (!isSameDocument(old.docs, after.row.docs, Number(key))) docs.push(Number(key));
  const editedAt: Record<FieldId, number> = {};
  for (const key in after.row.editedAt) {
    const time = old.editedAt[Number(key)] ?? 0;
    if (time !== after.row.editedAt[Number(key)]) editedAt[Number(key)] = time;
  }
  const { version, modifiedOn, modifiedBy, owner } = old;
  return {
    id,
    n,
    kind: 'update',
    before: { kind: 'fields', version, modifiedOn, modifiedBy, owner, fields, docs, editedAt },
  };
};
