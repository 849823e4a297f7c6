import {
  utf8Decode,
  utf8Encode,
  type Disposition,
  type FieldId,
  type Outcome,
  type RecordId,
  type TableId,
  type Value,
} from '@tidemark/model';
import { checkedFormat, storedForm } from './stored-form.js';
import { TextDeltas, type TextDelta } from './text-deltas.js';

/** Decision on one field as the ledger keeps it. Field 0 is the record's existence. */
export interface LedgerField {
  readonly field: FieldId | 0;
  readonly base: Value;
  readonly theirs: Value;
  readonly ours: Value;
  readonly result: Value;
  readonly rule: string;
  readonly outcome: Outcome;
}

/** What the ledger says of an operation: a verdict at merge, or what a resolution made of a parked one. */
export type LedgerOutcome = Outcome | Disposition | 'open';

/**
 * Decision on one operation. A parked operation has several entries: its verdict, then a disposition at
 * the version of each resolution that concerned it.
 */
export interface LedgerEntry {
  readonly n: number;
  /** OpId text. */
  readonly op: string;
  readonly user: string;
  readonly record: RecordId;
  readonly outcome: LedgerOutcome;
  readonly fields: readonly LedgerField[];
  /** `merge`, or who resolved: `resolution:<user>`. */
  readonly decider: string;
  /** Server time in ms. */
  readonly time: number;
}

/** Ledger segment whose entries are decoded when they are asked for. */
export interface LedgerSegment {
  readonly table: TableId;
  readonly incarnation: number;
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly entries: () => readonly LedgerEntry[];
  /** Entries of one record: a segment that does not name it is searched, not decoded. */
  readonly entriesOf: (record: RecordId) => readonly LedgerEntry[];
}

/** Newest format of ledger segments: in the second, long texts are written as changes. */
export const ledgerSegmentFormat = 2;

const outcomes: readonly LedgerOutcome[] = [
  'applied',
  'combined',
  'same',
  'superseded',
  'parked',
  'rejected',
  'ignored',
  'open',
];

/** A field that nobody else had changed is written as [field, base, ours]: the rest follows from these. */
type FieldJson =
  | readonly [FieldId, Written, Written]
  | readonly [FieldId, Written, Written, Written, Written, string, number];

type Written = Value | TextDelta;

type EntryJson = readonly [
  nOffset: number,
  op: string,
  text: number,
  record: RecordId,
  outcome: number,
  fields: readonly FieldJson[] | 0,
];

const fieldJson = (deltas: TextDeltas, record: RecordId, field: LedgerField): FieldJson => {
  const { field: id } = field;
  const base = deltas.write(id, record, field.base);
  if (field.rule === 'unchanged' && field.outcome === 'applied' && field.result === field.ours)
    return [id, base, deltas.write(id, record, field.ours)];
  return [
    id,
    base,
    deltas.write(id, record, field.theirs),
    deltas.write(id, record, field.ours),
    deltas.write(id, record, field.result),
    field.rule,
    outcomes.indexOf(field.outcome),
  ];
};

const fieldFromJson = (deltas: TextDeltas, record: RecordId, json: FieldJson): LedgerField => {
  const [field] = json;
  const base = deltas.read(field, record, json[1]);
  if (json.length === 3) {
    const ours = deltas.read(field, record, json[2]);
    const decided = { rule: 'unchanged', outcome: 'applied' } as const;
    return { field, base, theirs: base, ours, result: ours, ...decided };
  }
  return {
    field,
    base,
    theirs: deltas.read(field, record, json[2]),
    ours: deltas.read(field, record, json[3]),
    result: deltas.read(field, record, json[4]),
    rule: json[5],
    outcome: outcomes[json[6]] as Outcome,
  };
};

/**
 * Segment of the ledger that is being written, entry by entry in version order: format byte, header length (4),
 * header (JSON), entries (JSON). The triples (user, decider, time) are kept once in the header; of long texts
 * only changes are held (see `TextDeltas`), also until the segment is encoded.
 */
export class LedgerDraft {
  first = 0;
  last = 0;
  readonly #texts: (readonly [string, string, number])[] = [];
  readonly #places = new Map<string, number>();
  readonly #rows: EntryJson[] = [];
  readonly #deltas = new TextDeltas();

  add(entry: LedgerEntry): void {
    if (this.#rows.length === 0) this.first = entry.n;
    this.last = entry.n;
    const key = `${entry.time} ${entry.decider} ${entry.user}`;
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.#texts.length;
      this.#places.set(key, place);
      this.#texts.push([entry.user, entry.decider, entry.time]);
    }
    const { fields: decided, record } = entry;
    const fields =
      decided.length === 0 ? 0 : decided.map((field) => fieldJson(this.#deltas, record, field));
    const outcome = outcomes.indexOf(entry.outcome);
    this.#rows.push([entry.n - this.first, entry.op, place, record, outcome, fields]);
  }

  /** Bytes of the segment; it holds at least one entry. */
  encode(table: TableId, incarnation: number): Uint8Array {
    const facts = [table, incarnation, this.first, this.last, this.#rows.length, this.#texts];
    const header = utf8Encode(JSON.stringify(facts));
    const body = utf8Encode(JSON.stringify(this.#rows));
    const out = new Uint8Array(5 + header.length + body.length);
    out[0] = this.#deltas.hasChanges ? ledgerSegmentFormat : 1;
    new DataView(out.buffer).setUint32(1, header.length);
    out.set(header, 5);
    out.set(body, 5 + header.length);
    return out;
  }
}

const what = 'a segment of the ledger';

/** Opens a ledger segment that this engine wrote. Throws TidemarkError `storage-damaged` on other bytes. */
export const decodeLedgerSegment = (bytes: Uint8Array): LedgerSegment =>
  storedForm(what, () => openLedgerSegment(bytes));

const openLedgerSegment = (bytes: Uint8Array): LedgerSegment => {
  checkedFormat(what, bytes, ledgerSegmentFormat);
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1);
  const [table, incarnation, first, last, count, texts] = JSON.parse(
    utf8Decode(bytes.subarray(5, 5 + length)),
  ) as readonly [
    number,
    number,
    number,
    number,
    number,
    readonly (readonly [string, string, number])[],
  ];
  const readText = (): string => utf8Decode(bytes.subarray(5 + length));
  const parsed = (text: string): readonly EntryJson[] => JSON.parse(text) as readonly EntryJson[];
  const readRows = (rows: readonly EntryJson[]): readonly LedgerEntry[] => {
    const deltas = new TextDeltas();
    return rows.map(([nOffset, op, place, record, outcome, fields]) => {
      const [user, decider, time] = texts[place] as readonly [string, string, number];
      return {
        n: first + nOffset,
        op,
        user,
        record,
        outcome: outcomes[outcome] as LedgerOutcome,
        fields: fields === 0 ? [] : fields.map((field) => fieldFromJson(deltas, record, field)),
        decider,
        time,
      };
    });
  };
  const readEntriesOf = (record: RecordId): readonly LedgerEntry[] => {
    const text = readText();
    if (!text.includes(JSON.stringify(record))) return [];
    // A text is written as a change of what stood before in the same record: the others are not needed for it.
    return readRows(parsed(text).filter((row) => row[3] === record));
  };
  let entries: readonly LedgerEntry[] | undefined;
  return {
    table,
    incarnation,
    first,
    last,
    count,
    entries: () => (entries ??= storedForm(what, () => readRows(parsed(readText())))),
    entriesOf: (record) => storedForm(what, () => readEntriesOf(record)),
  };
};
