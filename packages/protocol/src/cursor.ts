import * as E from 'fp-ts/lib/Either.js';
import * as t from 'io-ts';
import {
  concatBytes,
  fromBase64,
  left,
  right,
  toBase64,
  toHex,
  utf8Decode,
  utf8Encode,
  type Hash,
  type Receipt,
  type Result,
  type TableId,
} from '@tidemark/model';

/** Where a table's download stands: current to version `at`, or filling after record `filling`. */
export interface CursorTable {
  readonly table: TableId;
  readonly at: number;
  /** Last id of a fill under way ('' at its start); null when the table is filled. */
  readonly filling: string | null;
}

/** Place among the changes of a feed, which are ordered by version, table and record id (UTF-16 units). */
export interface FeedPlace {
  readonly n: number;
  readonly table: number;
  readonly id: string;
}

/**
 * What a pull under way has fixed: its tables, the receipt as of `to`, and how many records of the table
 * being filled were read.
 */
export interface CursorPull {
  readonly group: readonly TableId[];
  readonly receipt: Receipt;
  readonly done: number;
  /** Null; earlier programs went by the segments of one server, and noted a record id here. */
  readonly after: string | null;
  /** Changes up to here were read by the pass under way; absent at its start. */
  readonly place?: FeedPlace;
}

/** Opening of a server: its random id (hexadecimal) and the version (n) at which it began. */
export type CursorLife = readonly [id: string, from: number];

/**
 * What the server had when it made a cursor: its newest lives, newest first, and the version that nothing
 * shown before is above. A server that was put back to an older copy recognizes by it what it lost.
 */
export interface CursorSeen {
  readonly n: number;
  readonly lives: readonly CursorLife[];
}

/**
 * Versions of an image that may mean something else now: those above `after` in incarnations up to
 * `incarnation`. A repair never takes them for equal.
 */
export interface CursorDoubt {
  readonly incarnation: number;
  readonly after: number;
}

/**
 * What a resume token holds. `to` is the version that the pass under way goes to, 0 between pulls. `feed` is
 * null; earlier programs noted a segment there, which means nothing to another server.
 */
export interface CursorState {
  readonly replica: string;
  readonly user: string;
  readonly incarnation: number;
  readonly tables: readonly CursorTable[];
  readonly scopeHash: string;
  readonly customizationVersion: number;
  readonly principalVersion: number;
  /** Server time (ms) and UTC offset (minutes) by which relative filters are evaluated. */
  readonly clockMs: number;
  readonly utcOffsetMinutes: number;
  readonly pass: number;
  readonly to: number;
  readonly feed: { readonly last: number; readonly table: number } | null;
  /** Absent between pulls. */
  readonly pull?: CursorPull;
  /** Absent in cursors of servers that did not note it. */
  readonly seen?: CursorSeen;
  /** Present while an image is repaired that holds versions in doubt. */
  readonly doubt?: CursorDoubt;
}

const isFinite = (u: unknown): u is number => typeof u === 'number' && Number.isFinite(u);
const finite = new t.Type<number>(
  'a finite number',
  isFinite,
  (u, c) => (isFinite(u) ? t.success(u) : t.failure(u, c)),
  t.identity,
);

const PullFixedJson = t.type({
  group: t.array(finite),
  receipt: t.type({
    incarnation: finite,
    epoch: finite,
    mergedTo: finite,
    head: t.string,
    version: finite,
    archivedTo: finite,
  }),
  done: finite,
  after: t.union([t.string, t.null]),
});

const PullJson = t.intersection([
  PullFixedJson,
  t.partial({ place: t.type({ n: finite, table: finite, id: t.string }) }),
]);

const CursorJson = t.intersection([
  t.partial({
    pull: PullJson,
    seen: t.type({ n: finite, lives: t.array(t.tuple([t.string, finite])) }),
    doubt: t.type({ incarnation: finite, after: finite }),
  }),
  t.type({
    replica: t.string,
    user: t.string,
    incarnation: finite,
    tables: t.array(t.type({ table: finite, at: finite, filling: t.union([t.string, t.null]) })),
    scopeHash: t.string,
    customizationVersion: finite,
    principalVersion: finite,
    clockMs: finite,
    utcOffsetMinutes: finite,
    pass: finite,
    to: finite,
    feed: t.union([t.type({ last: finite, table: finite }), t.null]),
  }),
]);

/** Keyed hash of 32 bytes with the server's key. */
export type Mac = (bytes: Uint8Array) => Uint8Array;

// The code covers the purpose and the format, so that no other text under the same key is a cursor.
const purpose = utf8Encode('tidemark cursor 1\n');
const codeOf = (json: Uint8Array, mac: Mac): Uint8Array => mac(concatBytes([purpose, json]));

/** Compares all bytes whatever they are: the time taken tells a forger nothing. */
const sameCode = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i += 1) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
};

/** Encodes a cursor as opaque text: format, authentication code and state in base64. */
export const encodeCursor = (state: CursorState, mac: Mac): string => {
  const json = utf8Encode(JSON.stringify(state));
  return `1.${toBase64(codeOf(json, mac))}.${toBase64(json)}`;
};

/** Decodes a cursor if this server's key made it; the failure is the same for every other text. */
export const decodeCursor = (text: string, mac: Mac): Result<'invalid-cursor', CursorState> => {
  const [format, code, body, ...rest] = text.split('.', 4);
  const bytes = fromBase64(body ?? '');
  const codeBytes = fromBase64(code ?? '');
  if (format !== '1' || rest.length > 0 || bytes === undefined || codeBytes === undefined)
    return left('invalid-cursor');
  if (!sameCode(codeOf(bytes, mac), codeBytes)) return left('invalid-cursor');
  try {
    const decoded = CursorJson.decode(JSON.parse(utf8Decode(bytes)));
    return E.isLeft(decoded) ? left('invalid-cursor') : right(decoded.right as CursorState);
  } catch {
    return left('invalid-cursor');
  }
};

const cursorNameBytes = 16;

/** Name of a cursor (null: the start of a download), by which an answer says which page it is: a hash, hexadecimal. */
export const cursorName = (cursor: string | null, hash: Hash): string =>
  toHex(hash(utf8Encode(cursor ?? '')).subarray(0, cursorNameBytes));
