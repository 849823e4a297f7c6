import { createHash } from 'node:crypto';
import {
  decodeCustomization,
  decodeEnvelope,
  decodeRow,
  decodeTransaction,
  encodeEnvelope,
  encodeRow,
  encodeTransaction,
  eraseTransaction,
  openTransaction,
  storeTransaction,
  utf8Decode,
  utf8Encode,
  type Customization,
  type Envelope,
  type Row,
  type StoredTransaction,
  type Transaction,
} from '@tidemark/model';
import {
  decodeCursor,
  decodeMessage,
  decodePage,
  encodeCursor,
  encodeMessage,
  encodePage,
  type CursorState,
  type PullAnswer,
  type ResumeRequest,
  type TablePage,
} from '@tidemark/protocol';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** Stands for the server's keyed hash: the key is public here, only the bytes matter. */
const mac = (bytes: Uint8Array): Uint8Array =>
  hash(new Uint8Array([...utf8Encode('golden'), ...bytes]));

const opened = <A>(
  result:
    | { readonly _tag: 'Left'; readonly left: unknown }
    | { readonly _tag: 'Right'; readonly right: A },
): A => {
  if (result._tag === 'Left') throw new Error(`cannot be opened: ${String(result.left)}`);
  return result.right;
};

const attachment = {
  sha256: '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff',
  bytes: 12,
  mediaType: 'image/png',
  name: 'a.png',
};

const transaction: Transaction = {
  schemaVersion: 3,
  hlc: { wallMs: 1_700_000_000_000, counter: 2 },
  atomicity: 'per-record',
  ops: [
    {
      table: 1,
      record: '0190a5d0-0000-7000-8000-000000000001',
      kind: 'create',
      base: null,
      prev: 0,
      since: 0,
      seen: 0,
      set: [
        { field: 1, before: null, after: 'Žilina \u{1f600}' },
        { field: 2, before: null, after: -1.5 },
        { field: 3, before: null, after: true },
        { field: 4, before: null, after: attachment },
      ],
      inc: [{ field: 9, by: -3 }],
      crdt: [{ field: 10, changes: Uint8Array.of(0, 255, 128) }],
      row: null,
    },
    {
      table: 59_999,
      record: '__proto__',
      kind: 'update',
      base: { incarnation: 1, n: 77, born: 'r-1/1/5', modifiedOn: 1_699_999_999_999 },
      prev: 1,
      since: 1,
      seen: 1_699_999_999_000,
      set: [{ field: 9_999, before: '12.5', after: null }],
      inc: [],
      crdt: [],
      row: [
        { field: 1, value: '2024-02-29' },
        { field: 2, value: null },
      ],
    },
    {
      table: 1,
      record: 'é * > . "',
      kind: 'delete',
      base: null,
      prev: 0,
      since: 0,
      seen: 0,
      set: [],
      inc: [],
      crdt: [],
      row: null,
    },
  ],
};
const salt = Uint8Array.from({ length: 16 }, (_, i) => i);
const stored = storeTransaction(3, salt, encodeTransaction(transaction));
const erased = eraseTransaction(opened(openTransaction(stored, hash)));

const envelope: Envelope = {
  replica: 'r-1',
  epoch: 2,
  user: 'ana@example.com',
  from: 6,
  to: 11,
  offsetMs: -250,
  headBefore: new Uint8Array(32).fill(1),
  headAfter: new Uint8Array(32).fill(254),
  signature: '',
  transactions: [stored, erased],
};

const row: Row = {
  version: { incarnation: 1, n: 4_294_967_296 },
  born: 'r-1/2/6',
  modifiedOn: 1_700_000_000_001,
  modifiedBy: 'ana@example.com',
  createdOn: 1_600_000_000_000,
  owner: 'bo',
  fields: { 1: 'Žilina \u{1f600}', 2: -1.5, 3: false, 4: attachment, 10: 'shared' },
  docs: { 10: 'AP+A' },
  editedAt: { 1: 1_700_000_000_000 },
};

const page: TablePage = {
  table: 59_999,
  mode: 'repair',
  blocks: [],
  entries: [
    { kind: 'upsert', id: 'a', version: row.version, row: encodeRow(row) },
    {
      kind: 'touch',
      id: 'é * > .',
      version: { incarnation: 4_294_967_295, n: 281_474_976_710_655 },
    },
    { kind: 'evict', id: '__proto__' },
  ],
};

const cursor: CursorState = {
  replica: 'r-1',
  user: 'ana@example.com',
  incarnation: 1,
  tables: [
    { table: 1, at: 77, filling: null },
    { table: 2, at: 0, filling: 'a"b' },
  ],
  scopeHash: '0123456789abcdef0123456789abcdef',
  customizationVersion: 3,
  principalVersion: 4,
  clockMs: 1_700_000_000_000,
  utcOffsetMinutes: -90,
  pass: 2,
  to: 80,
  feed: { last: 78, table: 1 },
};

const receipt = {
  incarnation: 1,
  epoch: 2,
  mergedTo: 11,
  head: 'fe'.repeat(32),
  version: 80,
  archivedTo: 5,
};
const resume: ResumeRequest = {
  epoch: 2,
  provisional: '0a0b',
  lastIndex: 11,
  publishedTo: 8,
  points: [
    [11, 'fe'.repeat(32)],
    [5, '01'.repeat(32)],
  ],
  seen: { incarnation: 1, n: 77 },
};
const pull: PullAnswer = {
  cursor: '1.AA==.AA==',
  closing: true,
  rehydrate: null,
  incarnation: 1,
  to: 80,
  pass: 2,
  serverTimeMs: 1_700_000_000_500,
  asOfMs: 1_700_000_000_001,
  receipt,
  progress: { table: 'visits', done: 5, total: 10 },
  reads: 42,
};

const customization: Customization = {
  format: 1,
  version: 3,
  tables: [
    {
      id: 1,
      name: 'visits',
      fields: [
        { id: 1, name: 'town', type: 'string', required: true, maxLength: 80 },
        { id: 2, name: 'state', type: 'option', options: ['open', 'done'], rule: 'manual' },
        { id: 3, name: 'parent', type: 'reference', table: 'visits' },
        { id: 9, name: 'seen', type: 'counter' },
      ],
      rule: 'latest-wins',
      onDelete: 'manual',
      indexes: [{ name: 'byTown', fields: ['town', 'state'] }],
      scopeKey: 'town',
    },
  ],
};

/** Format with an example: how its bytes are made now, and what they hold. */
export interface GoldenFile {
  readonly name: string;
  readonly encode: () => Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
  readonly content: unknown;
}

const openAll = (bytes: Uint8Array): StoredTransaction => opened(openTransaction(bytes, hash));

/** One example per format that is stored or sent, newest format. */
export const goldenFiles: readonly GoldenFile[] = [
  {
    name: 'transaction',
    encode: () => stored,
    decode: (bytes) => opened(decodeTransaction(openAll(bytes).payload ?? new Uint8Array(0))),
    content: transaction,
  },
  {
    name: 'transaction-erased',
    encode: () => erased,
    decode: (bytes) => {
      const { opCount, payload, digest } = openAll(bytes);
      return { opCount, payload, digest };
    },
    content: { opCount: 3, payload: undefined, digest: hash(stored.subarray(8)) },
  },
  {
    name: 'envelope',
    encode: () => encodeEnvelope(envelope),
    decode: (bytes) => opened(decodeEnvelope(bytes)),
    content: envelope,
  },
  { name: 'row', encode: () => encodeRow(row), decode: decodeRow, content: row },
  {
    name: 'page',
    encode: () => encodePage(page, hash),
    decode: (bytes) => opened(decodePage(bytes, hash)),
    content: page,
  },
  {
    name: 'cursor',
    encode: () => utf8Encode(encodeCursor(cursor, mac)),
    decode: (bytes) => opened(decodeCursor(utf8Decode(bytes), mac)),
    content: cursor,
  },
  {
    name: 'message-resume-request',
    encode: () => encodeMessage('ResumeRequest', resume),
    decode: (bytes) => opened(decodeMessage('ResumeRequest', bytes)).message,
    content: resume,
  },
  {
    name: 'message-pull-answer',
    encode: () => encodeMessage('PullAnswer', pull, [Uint8Array.of(1, 2, 3)]),
    decode: (bytes) => opened(decodeMessage('PullAnswer', bytes)),
    content: { message: pull, tail: Uint8Array.of(1, 2, 3) },
  },
  {
    name: 'customization',
    encode: () => utf8Encode(JSON.stringify(customization)),
    decode: (bytes) => opened(decodeCustomization(JSON.parse(utf8Decode(bytes)))),
    content: customization,
  },
];
