import {
  compareTexts,
  decodeFilter,
  decodeScope,
  parseFilter,
  printFilter,
} from '@tidemark/filter';
import { decodeInputEntry, encodeInputEntry, type InputEntry } from '@tidemark/merger';
import {
  decodeCustomization,
  decodeEnvelope,
  decodeTransaction,
  encodeEnvelope,
  encodeRow,
  encodeTransaction,
  eraseTransaction,
  isDeepJson,
  openTransaction,
  packBlocks,
  printOpId,
  storeTransaction,
  utf8Encode,
  type Result,
  type RowFields,
} from '@tidemark/model';
import {
  decodeCursor,
  decodeMessage,
  decodePage,
  decodePages,
  encodeCursor,
  encodeMessage,
  encodePage,
  encodePages,
  joinTail,
  encodeSignedCall,
  openSignedCall,
  type CursorState,
  type MessageName,
  type Messages,
  type TablePage,
} from '@tidemark/protocol';
import {
  count,
  customization,
  envelope,
  messageNames,
  messages,
  opId,
  recordId,
  replicaId,
  row,
  text,
  transaction,
} from '@tidemark/testkit';
import { nodeCodecs, unpackNow } from '@tidemark/crypto-node';
import fc from 'fast-check';
import { brotliCompressSync, constants, deflateRawSync } from 'node:zlib';
import { crypto } from '../convergence/memory-parts.js';
import { jsonOf } from './mutate.js';
import {
  Broken,
  drawn,
  expectBytes,
  expectSame,
  framed,
  headed,
  plain,
  refused,
  taken,
  type FuzzTarget,
  type Reading,
  type Sample,
} from './target.js';

const codeOf = (left: unknown): string =>
  typeof left === 'string'
    ? left
    : ((left as { readonly code?: string }).code ??
      `problems ${Math.min(3, (left as { readonly length?: number }).length ?? 1)}`);

/** What a decoder that answers with a result made of bytes; `again` checks what it took. */
const resultOf = <A>(result: Result<unknown, A>, again: (value: A) => void): Reading => {
  if (result._tag === 'Left') return refused(codeOf(result.left));
  again(result.right);
  return taken;
};

const rightOf = <A>(result: Result<unknown, A>): A | null =>
  result._tag === 'Right' ? result.right : null;

const { sha256 } = crypto;
const mac = (bytes: Uint8Array): Uint8Array => crypto.hmacSha256(new Uint8Array(32), bytes);

const envelopes: FuzzTarget = {
  name: 'envelope',
  samples: (seed) =>
    drawn(envelope, seed).map((one) => {
      const bytes = encodeEnvelope(one);
      return { bytes, cores: [framed(bytes, 1, 4)] };
    }),
  read: (bytes) =>
    resultOf(decodeEnvelope(bytes), (value) =>
      expectSame('an envelope', value, rightOf(decodeEnvelope(encodeEnvelope(value)))),
    ),
};

const storedTransactions: FuzzTarget = {
  name: 'stored-transaction',
  samples: (seed) =>
    drawn(transaction, seed).map((one) =>
      plain(storeTransaction(one.ops.length, new Uint8Array(16), encodeTransaction(one))),
    ),
  read: (bytes) =>
    resultOf(openTransaction(bytes, sha256), (value) => {
      const salt = bytes.slice(8, 24);
      if (value.payload === undefined)
        expectBytes('an erased transaction', bytes, eraseTransaction(value));
      else
        expectBytes('a transaction', bytes, storeTransaction(value.opCount, salt, value.payload));
    }),
};

const transactions: FuzzTarget = {
  name: 'transaction',
  samples: (seed) => drawn(transaction, seed).map((one) => plain(encodeTransaction(one))),
  read: (bytes) =>
    resultOf(decodeTransaction(bytes), (value) =>
      expectSame('a transaction', value, rightOf(decodeTransaction(encodeTransaction(value)))),
    ),
};

const ofMessages = messageNames.map((name): FuzzTarget => {
  return {
    name: `message-${name}`,
    samples: (seed) =>
      drawn<Messages[MessageName]>(messages[name], seed).map((one) => {
        const bytes = encodeMessage(name, one, [Uint8Array.of(1, 2, 3)]);
        return { bytes, cores: [framed(bytes, 1, 4)] };
      }),
    read: (bytes) =>
      resultOf(decodeMessage(name, bytes), ({ message, tail }) =>
        expectSame(
          `a ${name}`,
          { message, tail },
          rightOf(decodeMessage(name, encodeMessage(name, message, [tail]))),
        ),
      ),
  };
});

const pageEntry = fc.oneof(
  fc.record({
    kind: fc.constant('upsert' as const),
    id: recordId,
    version: fc.record({ incarnation: fc.nat(9), n: fc.nat() }),
    row: row.map(encodeRow),
  }),
  fc.record({
    kind: fc.constant('touch' as const),
    id: recordId,
    version: fc.record({ incarnation: fc.nat(9), n: fc.nat() }),
  }),
  fc.record({ kind: fc.constant('evict' as const), id: recordId }),
);
const entriesPage: fc.Arbitrary<TablePage> = fc.record({
  table: fc.nat(70_000),
  blocks: fc.constant([]),
  mode: fc.constantFrom('full', 'incremental', 'repair'),
  entries: fc.array(pageEntry, { maxLength: 4 }),
});
const blocksPage: fc.Arbitrary<TablePage> = fc
  .uniqueArray(fc.record({ id: recordId, value: row.map(encodeRow) }), {
    minLength: 1,
    maxLength: 4,
    selector: ({ id }) => id,
  })
  .map((rows) => ({
    ...{ table: 7, mode: 'full' as const, entries: [] },
    blocks: packBlocks(rows.sort((a, b) => compareTexts(a.id, b.id))),
  }));
const page = fc.oneof(entriesPage, blocksPage);
const pageHead = 26;

/** A page with other directory and rows: its lengths and checksum fit again. */
const pageSample = (bytes: Uint8Array): Sample => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const directory = view.getUint32(10);
  const dress =
    (isDirectory: boolean) =>
    (core: Uint8Array): Uint8Array => {
      const other = isDirectory
        ? bytes.slice(pageHead + directory)
        : bytes.slice(pageHead, pageHead + directory);
      const body = Buffer.concat(isDirectory ? [core, other] : [other, core]);
      const out = new Uint8Array(pageHead + body.length);
      out.set(bytes.subarray(0, pageHead));
      out.set(body, pageHead);
      const to = new DataView(out.buffer);
      to.setUint32(10, isDirectory ? core.length : directory);
      to.setUint32(14, isDirectory ? other.length : core.length);
      out.set(sha256(out.subarray(pageHead)).subarray(0, 8), pageHead - 8);
      return out;
    };
  return {
    bytes,
    cores: [
      { bytes: bytes.slice(pageHead, pageHead + directory), dress: dress(true) },
      { bytes: bytes.slice(pageHead + directory), dress: dress(false) },
    ],
  };
};

const pages: FuzzTarget = {
  name: 'page',
  samples: (seed) => drawn(page, seed).map((one) => pageSample(encodePage(one, sha256))),
  read: (bytes) =>
    resultOf(decodePage(bytes, sha256), (value) => {
      expectSame('a page', value, rightOf(decodePage(encodePage(value, sha256), sha256)));
    }),
};

const pageTails: FuzzTarget = {
  name: 'pages',
  samples: (seed) =>
    drawn(fc.array(page, { minLength: 1, maxLength: 3 }), seed).map((many) =>
      plain(joinTail(encodePages(many.map((one) => encodePage(one, sha256))))),
    ),
  read: (bytes) =>
    resultOf(decodePages(bytes, sha256), (value) => {
      const again = joinTail(encodePages(value.map((one) => encodePage(one, sha256))));
      expectSame('pages', value, rightOf(decodePages(again, sha256)));
    }),
};

/** Most bytes to which a tail of a message may unpack. */
const tailBytesMax = 1_000_000;
const brotliParams = {
  [constants.BROTLI_PARAM_QUALITY]: 1,
  [constants.BROTLI_PARAM_LGWIN]: 20,
};

/** A packed tail behind its codec (1 byte) and the length that is announced (4): bombs among the samples. */
const packedTails: FuzzTarget = {
  name: 'packed-tail',
  samples: (seed) =>
    drawn(fc.tuple(fc.nat(1), fc.uint8Array({ minLength: 1 }), fc.nat(tailBytesMax)), seed).map(
      ([codec, some, zeros]) => {
        const raw = Buffer.concat([
          some,
          Buffer.alloc(Math.min(zeros, tailBytesMax - some.length)),
        ]);
        const packed =
          codec === 0 ? brotliCompressSync(raw, { params: brotliParams }) : deflateRawSync(raw);
        const head = Buffer.alloc(5);
        head[0] = codec;
        head.writeUInt32BE(raw.length, 1);
        return headed(Buffer.concat([head, packed]), 5);
      },
    ),
  read: (bytes) => {
    if (bytes.length < 5) return refused('short');
    const codec = nodeCodecs[bytes[0] ?? 0] ?? 'none';
    const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1);
    // Decoding the message refuses more.
    if (length > tailBytesMax) return refused('length');
    const tail = unpackNow(codec, bytes.subarray(5), length);
    if (tail === undefined) return refused('packed');
    if (tail.length !== length) throw new Broken('a tail has another length than announced');
    decodePages(tail, sha256);
    return taken;
  },
};

const cursorState: fc.Arbitrary<CursorState> = fc.record({
  ...{ replica: replicaId, user: text(), incarnation: count, scopeHash: text() },
  tables: fc.array(fc.record({ table: count, at: count, filling: fc.option(recordId) }), {
    maxLength: 3,
  }),
  ...{ customizationVersion: count, principalVersion: count, clockMs: count },
  ...{ utcOffsetMinutes: fc.integer().map((one) => one || 0), pass: count, to: count },
  feed: fc.option(fc.record({ last: count, table: count })),
});

/** Cursors under the right code: a forged one is refused whatever it says. */
const cursors: FuzzTarget = {
  name: 'cursor',
  samples: (seed) =>
    drawn(cursorState, seed).map((state) => {
      const whole = encodeCursor(state, mac);
      const core = utf8Encode(JSON.stringify(state));
      const dress = (json: Uint8Array): Uint8Array => {
        const code = mac(Buffer.concat([utf8Encode('tidemark cursor 1\n'), json]));
        const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
        return utf8Encode(`1.${base64(code)}.${base64(json)}`);
      };
      return { bytes: utf8Encode(whole), cores: [{ bytes: core, dress }] };
    }),
  read: (bytes) =>
    resultOf(decodeCursor(Buffer.from(bytes).toString('latin1'), mac), (value) =>
      expectSame('a cursor', value, rightOf(decodeCursor(encodeCursor(value, mac), mac))),
    ),
};

const signedCalls: FuzzTarget = {
  name: 'signed-call',
  samples: (seed) =>
    drawn(fc.tuple(text(), text(), fc.uint8Array()), seed).map(([challenge, signature, body]) => {
      const bytes = encodeSignedCall({ challenge, signature }, body);
      return { bytes, cores: [framed(bytes, 1, 4)] };
    }),
  read: (bytes) => {
    const { proof, body } = openSignedCall(bytes);
    if (proof === null) return refused('no proof');
    // Members of later versions may stand beside these.
    const known = { challenge: proof.challenge, signature: proof.signature };
    expectSame('a proof', { proof: known, body }, openSignedCall(encodeSignedCall(known, body)));
    return taken;
  },
};

const hex = (digits: number): fc.Arbitrary<string> =>
  fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`));
const caller = fc.record({ tenant: text(), replica: replicaId, user: text() });
const fields = fc.dictionary(fc.stringMatching(/^[1-9][0-9]{0,2}$/), text(), {
  maxKeys: 3,
  noNullPrototype: true,
}) as fc.Arbitrary<RowFields>;
const position = fc.record({ generation: count, seq: count });
const entry: fc.Arbitrary<InputEntry> = fc.oneof(
  fc.record({
    kind: fc.constant('envelope' as const),
    caller,
    envelope: envelope.map(encodeEnvelope),
  }),
  fc.record({
    kind: fc.constant('write' as const),
    user: text(),
    ops: fc.array(
      fc.oneof(
        fc.record({
          kind: fc.constantFrom('upsert' as const, 'patch' as const),
          table: count,
          id: recordId,
          fields,
        }),
        fc.record({ kind: fc.constant('delete' as const), table: count, id: recordId }),
      ) as fc.Arbitrary<never>,
      { maxLength: 3 },
    ),
  }),
  fc.record({
    kind: fc.constant('foreign' as const),
    backend: text(),
    rows: fc.array(fc.record({ table: count, id: recordId, fields, modifiedOn: count }), {
      maxLength: 3,
    }),
  }),
  fc.record({ kind: fc.constant('grant' as const), caller, request: messages.GrantRequest }),
  fc.record({ kind: fc.constant('customization' as const), by: text(), json: customization }),
  fc.record({ kind: fc.constant('life' as const), id: hex(32) }),
  fc.record({
    kind: fc.constant('again' as const),
    of: fc.record({ generation: count, seq: count, hash: hex(32) }),
    entry: fc.uint8Array(),
  }),
  fc.record({
    kind: fc.constant('incarnation' as const),
    ...{ incarnation: count, position, digest: hex(64), checkpoint: fc.option(text()) },
    lastGood: fc.record({ generation: count, seq: count, hash: hex(64) }),
  }),
  fc.record({
    kind: fc.constant('resolution' as const),
    ...{ by: text(), id: recordId },
    resolution: fc.record({
      root: opId.map(printOpId),
      action: fc.constantFrom('retry' as const, 'merge' as const),
      shown: fc.array(fc.record({ table: count, record: recordId, incarnation: count, n: count }), {
        maxLength: 2,
      }),
      choices: fc.array(
        fc.record({
          ...{ table: count, record: recordId, field: count },
          pick: fc.constantFrom('mine' as const, 'theirs' as const),
        }),
        { maxLength: 2 },
      ),
    }),
  }) as fc.Arbitrary<InputEntry>,
);

const inputEntries: FuzzTarget = {
  name: 'input-entry',
  samples: (seed) =>
    drawn(entry, seed, 60).map((one) => {
      const bytes = encodeInputEntry(one);
      const isHeaded = one.kind === 'envelope' || one.kind === 'again';
      return isHeaded ? { bytes, cores: [framed(bytes, 2, 2)] } : headed(bytes, 2);
    }),
  read: (bytes) =>
    resultOf(decodeInputEntry(bytes), (value) =>
      expectSame('an entry', value, rightOf(decodeInputEntry(encodeInputEntry(value)))),
    ),
};

const customizations: FuzzTarget = {
  name: 'customization',
  samples: (seed) =>
    drawn(customization, seed).map((one) => plain(utf8Encode(JSON.stringify(one)))),
  read: (bytes) => {
    // JSON arrives in messages and entries, which bound its depth.
    const json = isDeepJson(bytes) ? undefined : jsonOf(bytes);
    if (json === undefined) return refused('JSON');
    return resultOf(decodeCustomization(json), (value) =>
      expectSame(
        'a customization',
        value,
        rightOf(decodeCustomization(JSON.parse(JSON.stringify(value)))),
      ),
    );
  },
};

const filterTexts = ["b = 'x'", "a like 'x%' and not (count > 3 or b in ('y', 'z'))", 'a is null'];

const scopes: FuzzTarget = {
  name: 'scope',
  samples: () =>
    [
      { tables: 'all' },
      ...filterTexts.map((filter) => ({
        tables: { visits: { filter, fields: ['a', 'b'] }, tasks: {} },
      })),
    ].map((one) => plain(utf8Encode(JSON.stringify(one)))),
  read: (bytes) => {
    // JSON arrives in messages and entries, which bound its depth.
    const json = isDeepJson(bytes) ? undefined : jsonOf(bytes);
    if (json === undefined) return refused('JSON');
    return resultOf(decodeScope(json), (value) =>
      expectSame('a scope', value, rightOf(decodeScope(JSON.parse(JSON.stringify(value))))),
    );
  },
};

const filters: FuzzTarget = {
  name: 'filter-expression',
  samples: () =>
    filterTexts.map((one) => plain(utf8Encode(JSON.stringify(rightOf(parseFilter(one)))))),
  read: (bytes) => {
    // JSON arrives in messages and entries, which bound its depth.
    const json = isDeepJson(bytes) ? undefined : jsonOf(bytes);
    if (json === undefined) return refused('JSON');
    return resultOf(decodeFilter(json), (value) =>
      expectSame('a filter', value, rightOf(decodeFilter(JSON.parse(JSON.stringify(value))))),
    );
  },
};

const filterText: FuzzTarget = {
  name: 'filter-text',
  samples: () => filterTexts.map((one) => plain(utf8Encode(one))),
  read: (bytes) =>
    resultOf(parseFilter(Buffer.from(bytes).toString('latin1')), (value) =>
      expectSame('a filter', value, rightOf(parseFilter(printFilter(value)))),
    ),
};

/** Decoders of what others send. */
export const wireTargets: readonly FuzzTarget[] = [
  envelopes,
  storedTransactions,
  transactions,
  ...ofMessages,
  pages,
  pageTails,
  packedTails,
  cursors,
  signedCalls,
  inputEntries,
  customizations,
  scopes,
  filters,
  filterText,
];
