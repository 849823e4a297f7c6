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
import { storedForm } from './stored-form.js';

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
}

/** Newest format of ledger segments. */
export const ledgerSegmentFormat = 1;

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
  readonly [FieldId, Value, Value] | readonly [FieldId, Value, Value, Value, Value, string, number];

type EntryJson = readonly [
  nOffset: number,
  op: string,
  text: number,
  record: RecordId,
  outcome: number,
  fields: readonly FieldJson[] | 0,
];

const fieldJson = (field: LedgerField): FieldJson =>
  field.rule === 'unchanged' && field.outcome === 'applied' && field.result === field.ours
    ? [field.field, field.base, field.ours]
    : [
        field.field,
        field.base,
        field.theirs,
        field.ours,
        field.result,
        field.rule,
        outcomes.indexOf(field.outcome),
      ];

const fieldFromJson = (json: FieldJson): LedgerField =>
  json.length === 3
    ? {
        field: json[0],
        base: json[1],
        theirs: json[1],
        ours: json[2],
        result: json[2],
        rule: 'unchanged',
        outcome: 'applied',
      }
    : {
        field: json[0],
        base: json[1],
        theirs: json[2],
        ours: json[3],
        result: json[4],
        rule: json[5],
        outcome: outcomes[json[6]] as Outcome,
      };

/**
 * Encodes a ledger segment: format byte, header length (4), header (JSON), entries (JSON). The triples
 * (user, decider, time) are kept once in the header. `entries` are in version order; at least one.
 */
export const encodeLedgerSegment = (
  table: TableId,
  incarnation: number,
  entries: readonly LedgerEntry[],
): Uint8Array => {
  const first = (entries[0] as LedgerEntry).n;
  const last = (entries[entries.length - 1] as LedgerEntry).n;
  const texts: (readonly [string, string, number])[] = [];
  const places = new Map<string, number>();
  const rows: EntryJson[] = [];
  for (const entry of entries) {
    const key = `${entry.time} ${entry.decider} ${entry.user}`;
    let place = places.get(key);
    if (place === undefined) {
      place = texts.length;
      places.set(key, place);
      texts.push([entry.user, entry.decider, entry.time]);
    }
    const fields = entry.fields.length === 0 ? 0 : entry.fields.map(fieldJson);
    const outcome = outcomes.indexOf(entry.outcome);
    rows.push([entry.n - first, entry.op, place, entry.record, outcome, fields]);
  }
  const header = utf8Encode(
    JSON.stringify([table, incarnation, first, last, entries.length, texts]),
  );
  const body = utf8Encode(JSON.stringify(rows));
  const out = new Uint8Array(5 + header.length + body.length);
  out[0] = ledgerSegmentFormat;
  new DataView(out.buffer).setUint32(1, header.length);
  out.set(header, 5);
  out.set(body, 5 + header.length);
  return out;
};

const what = 'a segment of the ledger';

/** Opens a ledger segment that this engine wrote. Throws TidemarkError `storage-damaged` on other bytes. */
export const decodeLedgerSegment = (bytes: Uint8Array): LedgerSegment =>
  storedForm(what, () => openLedgerSegment(bytes));

const openLedgerSegment = (bytes: Uint8Array): LedgerSegment => {
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
  const readEntries = (): readonly LedgerEntry[] =>
    (JSON.parse(utf8Decode(bytes.subarray(5 + length))) as readonly EntryJson[]).map(
      ([nOffset, op, text, record, outcome, fields]) => {
        const [user, decider, time] = texts[text] as readonly [string, string, number];
        return {
          n: first + nOffset,
          op,
          user,
          record,
          outcome: outcomes[outcome] as LedgerOutcome,
          fields: fields === 0 ? [] : fields.map(fieldFromJson),
          decider,
          time,
        };
      },
    );
  let entries: readonly LedgerEntry[] | undefined;
  return {
    table,
    incarnation,
    first,
    last,
    count,
    entries: () => (entries ??= storedForm(what, readEntries)),
  };
};
