import * as E from 'fp-ts/lib/Either.js';
import * as t from 'io-ts';
import type { Receipt, SyncLog } from '@tidemark/model';
import { left, right, tablesMax, TidemarkError, type Result } from '@tidemark/model';
import {
  decodeFrame,
  encodeFrame,
  unpackedBytesMax,
  type Protocols,
  type TailPart,
} from './frame.js';

/** Maximum (index, head) pairs of a resume request. */
export const resumePointsMax = 64;
/** Maximum ranges of a compare request. */
export const compareRangesMax = 256;
/** Maximum records that a compare request names as held. */
export const compareIdsMax = 1_024;

/** Maximum codecs that a request names. */
export const codecsMax = 8;
/** Maximum pages behind its cursor that a pull may ask for. */
export const pagesAheadMax = 16;

/** Receipt keys of a tenant that a replica keeps at most. */
export const receiptKeysMax = 8;

/** Index of a transaction's last operation and the chain head (hexadecimal) after it. */
export type HeadPoint = readonly [index: number, head: string];

/**
 * What a replica says of its log on connect, at each run and when a receipt is late. `epoch` 0: none
 * granted yet. `provisional` (hexadecimal): random id of an epoch that waits for its grant, or the id
 * under which the current epoch was granted. `points` are newest first, at transaction ends.
 */
export interface ResumeRequest {
  readonly epoch: number;
  readonly provisional: string;
  readonly lastIndex: number;
  readonly publishedTo: number;
  readonly points: readonly HeadPoint[];
  /** Lowest server version that the replica accepts; n 0 before the first download. */
  readonly seen: { readonly incarnation: number; readonly n: number };
  /**
   * Newest cursor that the replica holds: it proves to the server what the server itself has shown. Null
   * before the first page; absent in messages of replicas that do not send it.
   */
  readonly cursor?: string | null;
}

/**
 * Server's view of the replica. `ok`: the epoch is current and the logs agree up to `common`. `unknown`:
 * never seen, ask for a grant. `fork`: the epoch is current, but the logs differ above `common`; `differs`
 * is the lowest named index known to differ (0: the replica's log merely ends early). `ended`: another
 * grant ended the epoch.
 */
export interface ResumeAnswer {
  readonly status: 'ok' | 'unknown' | 'fork' | 'ended';
  readonly common: number;
  readonly differs: number;
  readonly receipt: Receipt;
  readonly generation: number;
  readonly serverTimeMs: number;
  readonly customizationVersion: number;
}

/** Asks for an epoch (compare-and-set on the current one), or for a new replica that continues another. */
export interface GrantRequest {
  /** Epoch that the replica believes current; 0 for a first grant. */
  readonly epoch: number;
  readonly provisional: string;
  /** Last common position: the new epoch continues above it. */
  readonly continues: { readonly index: number; readonly head: string };
  /** Set by a clone: the replica it was, whose log it shares up to `continues`. */
  readonly origin: { readonly replica: string; readonly epoch: number } | null;
  /**
   * True when the log does not reach down to what the server knows: operations below `continues` are gone
   * from the replica. The server then takes the head on trust.
   */
  readonly gap?: boolean;
}

/** Answer to a grant: `granted` false names the current epoch, granted to somebody else. */
export interface GrantAnswer {
  readonly granted: boolean;
  readonly epoch: number;
  readonly receipt: Receipt;
}

/** Asks for the customization unless the replica has this version. */
export interface CustomizationRequest {
  readonly have: number;
}

/** Newest customization; `json` null when the replica has it. */
export interface CustomizationAnswer {
  readonly version: number;
  readonly json: unknown;
}

/**
 * Asks for the next page of a download. `cursor` null starts from nothing. `tables` names the consistency
 * group, null means all of the scope. `scope` is the replica's scope as canonical JSON.
 */
export interface PullRequest {
  readonly cursor: string | null;
  readonly tables: readonly string[] | null;
  readonly scope: unknown;
  readonly seen: { readonly incarnation: number; readonly n: number };
  readonly maxBytes: number;
  /** The replica reads pages of blocks, too. */
  readonly blocks?: true;
  /** Codecs in which the replica wants the tail of the answer; absent: as it is. */
  readonly codecs?: readonly string[];
  /** Codecs in which the replica takes a tail that the server has packed already; packing one for it is not worth it. */
  readonly ready?: readonly string[];
  /**
   * Asks for the page that many pages behind `cursor`, whose own cursor the replica does not have yet: those
   * before it are asked for already. 0 is the page at `cursor`. Absent: the replica asks for one page at a time.
   */
  readonly skip?: number;
}

/** Says that the tail of an answer is packed by a codec, and what it unpacks to. */
export interface PackedTail {
  readonly codec: string;
  /** Length of the tail unpacked, in bytes. */
  readonly bytes: number;
}

/**
 * One page of a download; its tail holds table pages (`decodePages`). `closing` pages were read at one
 * version, `to`: after applying them the named tables are current to it, and operations up to
 * `receipt.mergedTo` are contained in them. `rehydrate` asks for repair by difference instead.
 */
export interface PullAnswer {
  readonly cursor: string;
  readonly closing: boolean;
  readonly rehydrate: 'incarnation' | 'horizon' | 'scope' | null;
  readonly incarnation: number;
  readonly to: number;
  readonly pass: number;
  readonly serverTimeMs: number;
  /** Server time (ms) of the commit that `to` names: what `asOf` shows. */
  readonly asOfMs: number;
  readonly receipt: Receipt;
  readonly progress: {
    readonly table: string;
    readonly done: number;
    readonly total: number;
  } | null;
  /** Values that the server read from its store for this answer. */
  readonly reads: number;
  /** Name of the cursor that this page goes on from (`cursorName`), where the request named pages ahead. */
  readonly from?: string;
  readonly packed?: PackedTail;
}

/** Range of ids, `after` < id <= `upTo` (null: unbounded), with count and fingerprint of the replica. */
export interface RangeFingerprint {
  readonly after: string | null;
  readonly upTo: string | null;
  readonly count: number;
  readonly fingerprint: string;
}

/**
 * Compares a table by difference. With `ranges` it asks which differ; with `held` (id, incarnation, n of
 * every record that the replica holds in one range) it asks for the difference itself.
 */
export interface CompareRequest {
  /** Null at the start of a repair: the answer's cursor then marks the version from which to pull. */
  readonly cursor: string | null;
  /**
   * Cursor of the image that is repaired, given with `cursor` null: the server learns from it which versions
   * of the image may mean something else now. Null or absent when there is none.
   */
  readonly image?: string | null;
  readonly table: string;
  readonly scope: unknown;
  readonly seen: { readonly incarnation: number; readonly n: number };
  readonly ranges: readonly RangeFingerprint[];
  readonly held: {
    readonly after: string | null;
    readonly upTo: string | null;
    readonly rows: readonly (readonly [id: string, incarnation: number, n: number])[];
  } | null;
  readonly maxBytes: number;
  /** Codecs in which the replica wants the tail of the answer; absent: as it is. */
  readonly codecs?: readonly string[];
}

/**
 * Answer to a comparison. `equal` has one entry per range. For `held`, the tail holds pages that turn the
 * replica's range into the server's up to `next` (null: the whole range); evictions name what to drop,
 * alike for deleted and forbidden. `cursor` is where to pull from afterwards.
 */
export interface CompareAnswer {
  readonly cursor: string;
  readonly equal: readonly boolean[];
  readonly next: string | null;
  readonly reads: number;
  readonly packed?: PackedTail;
}

/**
 * Asks to be enrolled, signed with the new key as a proof that the replica has it. `token` is a one-time token,
 * or what the embedder's hook takes; a clone gives `origin` instead: the replica that it was, which signed
 * `cloneBytes`. Keys are hexadecimal, signatures base64.
 */
export interface EnrollRequest {
  readonly publicKey: string;
  readonly token: string | null;
  readonly origin: { readonly replica: string; readonly signature: string } | null;
}

/** What an enrolled replica needs: its user and device, and the keys (hexadecimal) that sign receipts. */
export interface EnrollAnswer {
  readonly user: string;
  readonly device: string;
  readonly receiptKeys: readonly string[];
}

/** JSON writes no number beyond all numbers, but reads `1e999` as one. */
const finite = new t.Type<number>(
  'finite number',
  (value): value is number => typeof value === 'number' && Number.isFinite(value),
  (value, context) =>
    typeof value === 'number' && Number.isFinite(value)
      ? t.success(value)
      : t.failure(value, context),
  t.identity,
);

const count = new t.Type<number>(
  'count',
  (u): u is number => typeof u === 'number' && Number.isSafeInteger(u) && u >= 0,
  (u, c) =>
    typeof u === 'number' && Number.isSafeInteger(u) && u >= 0 ? t.success(u) : t.failure(u, c),
  t.identity,
);
const nullable = <C extends t.Mixed>(codec: C): t.UnionC<[C, t.NullC]> => t.union([codec, t.null]);
const listOf = <C extends t.Mixed>(item: C, max: number): t.Type<t.TypeOf<C>[]> => {
  const list = t.array(item);
  const fits = (u: unknown): boolean => Array.isArray(u) && u.length <= max;
  return new t.Type<t.TypeOf<C>[]>(
    `at most ${max} of ${item.name}`,
    (u): u is t.TypeOf<C>[] => fits(u) && list.is(u),
    // The length comes first, so that a long list costs nothing.
    (u, c) => (fits(u) ? list.validate(u, c) : t.failure(u, c)),
    t.identity,
  );
};
const countTo = (max: number): t.Type<number> =>
  new t.Type<number>(
    `count up to ${max}`,
    (u): u is number => count.is(u) && u <= max,
    (u, c) => (count.is(u) && u <= max ? t.success(u) : t.failure(u, c)),
    t.identity,
  );
const seen = t.type({ incarnation: count, n: count });
const codecNames = listOf(t.string, codecsMax);
const packed = t.type({ codec: t.string, bytes: countTo(unpackedBytesMax) });
const receipt = t.intersection([
  t.type({
    incarnation: count,
    epoch: count,
    mergedTo: count,
    head: t.string,
    version: count,
    archivedTo: count,
  }),
  t.partial({ signature: t.string, keyId: t.string }),
]);

const syncTableLog = t.type({
  table: t.string,
  mode: t.union([t.literal('full'), t.literal('incremental'), t.literal('repair')]),
  upserts: count,
  touches: count,
  evicts: count,
});

const codecs = {
  ResumeRequest: t.intersection([
    t.type({
      epoch: count,
      provisional: t.string,
      lastIndex: count,
      publishedTo: count,
      points: listOf(t.tuple([count, t.string]), resumePointsMax),
      seen,
    }),
    t.partial({ cursor: nullable(t.string) }),
  ]),
  ResumeAnswer: t.type({
    status: t.union([t.literal('ok'), t.literal('unknown'), t.literal('fork'), t.literal('ended')]),
    common: count,
    differs: count,
    receipt,
    generation: count,
    serverTimeMs: count,
    customizationVersion: count,
  }),
  GrantRequest: t.intersection([
    t.type({
      epoch: count,
      provisional: t.string,
      continues: t.type({ index: count, head: t.string }),
      origin: nullable(t.type({ replica: t.string, epoch: count })),
    }),
    t.partial({ gap: t.boolean }),
  ]),
  GrantAnswer: t.type({ granted: t.boolean, epoch: count, receipt }),
  CustomizationRequest: t.type({ have: count }),
  CustomizationAnswer: t.type({ version: count, json: t.unknown }),
  PullRequest: t.intersection([
    t.type({
      cursor: nullable(t.string),
      tables: nullable(listOf(t.string, tablesMax)),
      scope: t.unknown,
      seen,
      maxBytes: count,
    }),
    t.partial({
      blocks: t.literal(true),
      codecs: codecNames,
      ready: codecNames,
      skip: countTo(pagesAheadMax),
    }),
  ]),
  PullAnswer: t.intersection([
    t.type({
      cursor: t.string,
      closing: t.boolean,
      rehydrate: nullable(
        t.union([t.literal('incarnation'), t.literal('horizon'), t.literal('scope')]),
      ),
      incarnation: count,
      to: count,
      pass: count,
      serverTimeMs: count,
      asOfMs: count,
      receipt,
      progress: nullable(t.type({ table: t.string, done: count, total: count })),
      reads: count,
    }),
    t.partial({ from: t.string, packed }),
  ]),
  CompareRequest: t.intersection([
    t.type({
      cursor: nullable(t.string),
      table: t.string,
      scope: t.unknown,
      seen,
      ranges: listOf(
        t.type({
          after: nullable(t.string),
          upTo: nullable(t.string),
          count,
          fingerprint: t.string,
        }),
        compareRangesMax,
      ),
      held: nullable(
        t.type({
          after: nullable(t.string),
          upTo: nullable(t.string),
          rows: listOf(t.tuple([t.string, count, count]), compareIdsMax),
        }),
      ),
      maxBytes: count,
    }),
    t.partial({ image: nullable(t.string), codecs: codecNames }),
  ]),
  CompareAnswer: t.intersection([
    t.type({
      cursor: t.string,
      equal: listOf(t.boolean, compareRangesMax),
      next: nullable(t.string),
      reads: count,
    }),
    t.partial({ packed }),
  ]),
  EnrollRequest: t.type({
    publicKey: t.string,
    token: nullable(t.string),
    origin: nullable(t.type({ replica: t.string, signature: t.string })),
  }),
  EnrollAnswer: t.type({
    user: t.string,
    device: t.string,
    receiptKeys: listOf(t.string, receiptKeysMax),
  }),
  SyncLog: t.type({
    run: t.string,
    replica: t.string,
    user: t.string,
    mode: t.union([t.literal('foreground'), t.literal('background')]),
    startedOn: count,
    endedOn: count,
    result: t.union([
      t.literal('synced'),
      t.literal('pending'),
      t.literal('blocked'),
      t.literal('failed'),
      t.literal('cancelled'),
    ]),
    error: nullable(t.string),
    uploadedOperations: count,
    uploadedBytes: count,
    downloadedBytes: count,
    pages: count,
    passes: count,
    serverReads: count,
    tables: listOf(syncTableLog, tablesMax),
    pendingOperations: count,
    parked: count,
    phases: t.record(t.string, finite),
  }),
};

/** Messages by name, with the type of their JSON part. */
export interface Messages {
  readonly ResumeRequest: ResumeRequest;
  readonly ResumeAnswer: ResumeAnswer;
  readonly GrantRequest: GrantRequest;
  readonly GrantAnswer: GrantAnswer;
  readonly CustomizationRequest: CustomizationRequest;
  readonly CustomizationAnswer: CustomizationAnswer;
  readonly PullRequest: PullRequest;
  readonly PullAnswer: PullAnswer;
  readonly CompareRequest: CompareRequest;
  readonly CompareAnswer: CompareAnswer;
  readonly EnrollRequest: EnrollRequest;
  readonly EnrollAnswer: EnrollAnswer;
  readonly SyncLog: SyncLog;
}

/** Name of a message. */
export type MessageName = keyof Messages;

/** Encodes a message of the named kind. */
export const encodeMessage = <N extends MessageName>(
  _name: N,
  message: Messages[N],
  tail?: readonly TailPart[],
): Uint8Array => encodeFrame(message, tail);

/** Decodes a message of the named kind; a failure carries the code, without values. */
export const decodeMessage = <N extends MessageName>(
  name: N,
  bytes: Uint8Array,
  protocols?: Protocols,
): Result<TidemarkError, { readonly message: Messages[N]; readonly tail: Uint8Array }> => {
  const frame = decodeFrame(bytes, protocols);
  if (E.isLeft(frame)) return left(new TidemarkError(frame.left, `cannot decode a ${name}`));
  const decoded = codecs[name].decode(frame.right.json);
  if (E.isLeft(decoded)) {
    const path = decoded.left[0]?.context.map(({ key }) => key).join('.') ?? '';
    return left(new TidemarkError('malformed-message', `${name}${path} is malformed`));
  }
  return right({ message: frame.right.json as Messages[N], tail: frame.right.tail });
};
