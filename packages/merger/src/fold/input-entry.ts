import * as E from 'fp-ts/lib/Either.js';
import * as t from 'io-ts';
import type { ServerWrite } from '@tidemark/merge';
import {
  concatBytes,
  isDeepJson,
  left,
  right,
  utf8Decode,
  utf8Encode,
  isDeviceId,
  type RecordId,
  type ResolutionRow,
  type Result,
  type RowFields,
  type TableId,
} from '@tidemark/model';
import type { InputPosition } from '@tidemark/ports';
import type { GrantRequest } from '@tidemark/protocol';

/** Who published an envelope or asked for a grant, as the transport verified it. */
export interface InputCaller {
  readonly tenant: string;
  readonly replica: string;
  readonly user: string;
  /** Device whose credential stored it, where the transport saw one. */
  readonly device?: string;
}

/** Row as a system of record reports it; `rowVersion` orders the reports of one row, if given. */
export interface ForeignReport {
  readonly table: TableId;
  readonly id: RecordId;
  readonly fields: RowFields;
  readonly modifiedOn: number;
  readonly rowVersion?: number;
  readonly deleted?: boolean;
}

/** Entry of the input: everything that a merge depends on is one of these. */
export type InputEntry =
  | { readonly kind: 'envelope'; readonly caller: InputCaller; readonly envelope: Uint8Array }
  | { readonly kind: 'write'; readonly user: string; readonly ops: readonly ServerWrite[] }
  | { readonly kind: 'foreign'; readonly backend: string; readonly rows: readonly ForeignReport[] }
  | { readonly kind: 'grant'; readonly caller: InputCaller; readonly request: GrantRequest }
  | { readonly kind: 'customization'; readonly by: string; readonly json: unknown }
  | {
      readonly kind: 'resolution';
      readonly by: string;
      /** Id of the row of `resolutions` that the entry creates. */
      readonly id: RecordId;
      readonly resolution: ResolutionRow;
    }
  | {
      /** First message of a generation that continues from a restored store. */
      readonly kind: 'incarnation';
      readonly incarnation: number;
      /** Where the restored store stood, and its digest (hexadecimal) there. */
      readonly position: InputPosition;
      readonly digest: string;
      readonly checkpoint: string | null;
      /** Last message of the old generation that was still good, with its hash (hexadecimal). */
      readonly lastGood: {
        readonly generation: number;
        readonly seq: number;
        readonly hash: string;
      };
    }
  | {
      /** First message of a generation that follows one which had grown to its size: it decides nothing. */
      readonly kind: 'generation';
    }
  | {
      /** A server opened here: what it shows from now on is of this life. */
      readonly kind: 'life';
      /** Random, 32 hexadecimal digits. */
      readonly id: string;
    }
  | {
      /**
       * An entry that was folded elsewhere, or stored, and that this line of history lacks: it counts unless
       * the line holds the message at `of`, or has had this one before.
       */
      readonly kind: 'again';
      /** Where the message stood, and its hash (32 hexadecimal digits). */
      readonly of: InputPosition & { readonly hash: string };
      readonly entry: Uint8Array;
    }
  | {
      /** A one-time token may enrol a replica of the user; only its hash (hexadecimal) is kept. */
      readonly kind: 'token';
      readonly by: string;
      readonly hash: string;
      readonly user: string;
      readonly device: string;
      /** Input time (ms) after which it is refused. */
      readonly expiresOn: number;
    }
  | {
      /** A replica has a key: by a token, by its origin's signature, or because the embedder knows the user. */
      readonly kind: 'enroll';
      readonly replica: string;
      readonly user: string;
      readonly device: string;
      /** Ed25519, hexadecimal. */
      readonly publicKey: string;
      readonly token: string | null;
      readonly origin: string | null;
    }
  | {
      /** Ends what a replica, or a device with all its replicas, may do. */
      readonly kind: 'revoke';
      readonly by: string;
      readonly of: 'replica' | 'device';
      readonly id: string;
    }
  | {
      /** From here on envelopes and calls need signatures. There is no way back. */
      readonly kind: 'policy';
      readonly by: string;
      readonly identities: 'required';
    };

/** Newest format of input entries. */
export const inputEntryFormat = 1;
/** Maximum operations of one `write` entry and rows of one `foreign` entry. */
export const entryItemsMax = 1_000;

const kinds: readonly InputEntry['kind'][] = [
  'envelope',
  'write',
  'foreign',
  'grant',
  'customization',
  'resolution',
  'incarnation',
  'life',
  'again',
  'token',
  'enroll',
  'revoke',
  'policy',
  'generation',
];

const count = new t.Type<number>(
  'count',
  (u): u is number => typeof u === 'number' && Number.isSafeInteger(u) && u >= 0,
  (u, c) =>
    typeof u === 'number' && Number.isSafeInteger(u) && u >= 0 ? t.success(u) : t.failure(u, c),
  t.identity,
);
const nullable = <C extends t.Mixed>(codec: C): t.UnionC<[C, t.NullC]> => t.union([codec, t.null]);
const caller = t.intersection([
  t.type({ tenant: t.string, replica: t.string, user: t.string }),
  t.partial({ device: t.string }),
]);
const isFieldKeys = (u: unknown): u is Record<string, unknown> =>
  typeof u === 'object' &&
  u !== null &&
  !Array.isArray(u) &&
  Object.keys(u).every((key) => /^[1-9]\d{0,3}$/.test(key));
const fields = new t.Type<Record<string, unknown>>(
  'fields',
  isFieldKeys,
  (u, c) => (isFieldKeys(u) ? t.success(u) : t.failure(u, c)),
  t.identity,
);
const target = { table: count, id: t.string };

const textLike = (name: string, fits: (text: string) => boolean): t.Type<string> =>
  new t.Type<string>(
    name,
    (u): u is string => typeof u === 'string' && fits(u),
    (u, c) => (typeof u === 'string' && fits(u) ? t.success(u) : t.failure(u, c)),
    t.identity,
  );
const keyText = textLike('32 bytes in hexadecimal', (text) => /^[0-9a-f]{64}$/.test(text));
const deviceName = textLike('device', isDeviceId);

const isLifeId = (u: unknown): u is string => typeof u === 'string' && /^[0-9a-f]{32}$/.test(u);
const lifeId = new t.Type<string>(
  'life id',
  isLifeId,
  (u, c) => (isLifeId(u) ? t.success(u) : t.failure(u, c)),
  t.identity,
);

const isMessageHash = (u: unknown): u is string =>
  typeof u === 'string' && /^[0-9a-f]{32}$/.test(u);
const messageHash = new t.Type<string>(
  'message hash',
  isMessageHash,
  (u, c) => (isMessageHash(u) ? t.success(u) : t.failure(u, c)),
  t.identity,
);
const original = t.type({ generation: count, seq: count, hash: messageHash });

const codecs = {
  write: t.type({
    user: t.string,
    ops: t.array(
      t.union([
        t.type({ kind: t.literal('upsert'), ...target, fields }),
        t.type({ kind: t.literal('patch'), ...target, fields }),
        t.type({ kind: t.literal('delete'), ...target }),
        t.type({
          kind: t.literal('increment'),
          ...target,
          by: t.intersection([fields, t.record(t.string, t.number)]),
        }),
      ]),
    ),
  }),
  foreign: t.type({
    backend: t.string,
    rows: t.array(
      t.intersection([
        t.type({ ...target, fields, modifiedOn: count }),
        t.partial({ rowVersion: count, deleted: t.boolean }),
      ]),
    ),
  }),
  grant: t.type({
    caller,
    request: t.intersection([
      t.type({
        epoch: count,
        provisional: t.string,
        continues: t.type({ index: count, head: t.string }),
        origin: nullable(t.type({ replica: t.string, epoch: count })),
      }),
      t.partial({ gap: t.boolean }),
    ]),
  }),
  customization: t.type({ by: t.string, json: t.unknown }),
  resolution: t.type({
    by: t.string,
    id: t.string,
    resolution: t.type({
      root: t.string,
      action: t.string,
      shown: t.array(t.type({ table: count, record: t.string, incarnation: count, n: count })),
      choices: t.array(
        t.intersection([
          t.type({ table: count, record: t.string, field: count, pick: t.string }),
          t.partial({ value: t.unknown }),
        ]),
      ),
    }),
  }),
  incarnation: t.type({
    incarnation: count,
    position: t.type({ generation: count, seq: count }),
    digest: t.string,
    checkpoint: nullable(t.string),
    lastGood: t.type({ generation: count, seq: count, hash: t.string }),
  }),
  life: t.type({ id: lifeId }),
  token: t.type({
    by: t.string,
    hash: keyText,
    user: t.string,
    device: deviceName,
    expiresOn: count,
  }),
  enroll: t.type({
    replica: t.string,
    user: t.string,
    device: deviceName,
    publicKey: keyText,
    token: nullable(keyText),
    origin: nullable(t.string),
  }),
  revoke: t.type({
    by: t.string,
    of: t.union([t.literal('replica'), t.literal('device')]),
    id: t.string,
  }),
  policy: t.type({ by: t.string, identities: t.literal('required') }),
  generation: t.type({}),
};

/** Length (2 bytes) and JSON of a head, then bytes as they came. */
const headed = (head: unknown, bytes: Uint8Array): readonly Uint8Array[] => {
  const json = utf8Encode(JSON.stringify(head));
  const length = new Uint8Array(2);
  new DataView(length.buffer).setUint16(0, json.length);
  return [length, json, bytes];
};

const frame = (kind: InputEntry['kind'], body: readonly Uint8Array[]): Uint8Array =>
  concatBytes([Uint8Array.of(kinds.indexOf(kind), inputEntryFormat), ...body]);

/**
 * Encodes an input entry: kind byte, format byte, then a JSON body; for an envelope the length (2 bytes)
 * and JSON of the caller, then the envelope's bytes as they came; for `again` likewise with `of`.
 */
export const encodeInputEntry = (entry: InputEntry): Uint8Array => {
  if (entry.kind === 'envelope') return frame('envelope', headed(entry.caller, entry.envelope));
  if (entry.kind === 'again') return frame('again', headed(entry.of, entry.entry));
  const { kind, ...body } = entry;
  return frame(kind, [utf8Encode(JSON.stringify(body))]);
};

/** Reason why bytes are not an input entry. */
export type InputEntryProblem = 'newer-format' | 'malformed';

const parse = (bytes: Uint8Array): unknown => {
  if (isDeepJson(bytes)) return undefined;
  try {
    return JSON.parse(utf8Decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
};

const decodeHeaded = (
  kind: 'envelope' | 'again',
  bytes: Uint8Array,
): Result<InputEntryProblem, InputEntry> => {
  if (bytes.length < 4) return left('malformed');
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint16(2);
  if (4 + length > bytes.length) return left('malformed');
  const head = parse(bytes.subarray(4, 4 + length));
  const rest = bytes.subarray(4 + length);
  if (kind === 'envelope') {
    const decoded = caller.decode(head);
    if (E.isLeft(decoded)) return left('malformed');
    return right({ kind, caller: decoded.right, envelope: rest });
  }
  const decoded = original.decode(head);
  return E.isLeft(decoded) ? left('malformed') : right({ kind, of: decoded.right, entry: rest });
};

/**
 * Decodes an input entry. A pure function of the bytes; the envelope inside is not looked into. Values are
 * checked against the schema when the entry is decided.
 */
export const decodeInputEntry = (bytes: Uint8Array): Result<InputEntryProblem, InputEntry> => {
  const kind = kinds[bytes[0] ?? kinds.length];
  if (kind === undefined || (bytes[1] ?? 0) > inputEntryFormat) return left('newer-format');
  if (bytes[1] !== inputEntryFormat) return left('malformed');
  if (kind === 'envelope' || kind === 'again') return decodeHeaded(kind, bytes);
  const json = parse(bytes.subarray(2));
  const decoded = codecs[kind].decode(json);
  if (E.isLeft(decoded)) return left('malformed');
  const entry = { kind, ...decoded.right } as InputEntry;
  if (entry.kind === 'write' && entry.ops.length > entryItemsMax) return left('malformed');
  if (entry.kind === 'foreign' && entry.rows.length > entryItemsMax) return left('malformed');
  return right(entry);
};
