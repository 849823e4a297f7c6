import {
  concatBytes,
  equalBytes,
  TidemarkError,
  utf8Decode,
  utf8Encode,
  type Hash,
} from '@tidemark/model';
import type { Database } from './database.js';
import { getU32, getU48, setU32, setU48 } from './keys.js';
import { isContentKey, serverSpaceEnd, serverSpaceFirst } from './server-keys.js';
import { storageError } from './storage-error.js';

/*
 * Dump of a server store: a stream of frames.
 *
 *   frame    kind u8, body length u32, check (16 bytes), body
 *   check    first half of digest_k = H(digest_k-1, kind, body length, body); digest_0 is 32 zero bytes
 *   header   JSON {format, kind}
 *   content  a piece of the stream of entries; an entry may go on in the next frame
 *   end      entries u48, bytes u48, digest of the frame before (32 bytes)
 *
 * Entry: key length u16, value length u32, key, value; keys ascend.
 */
const frameHead = 21;
const checkBytes = 16;
const headerFrame = 1;
const contentFrame = 2;
const endFrame = 3;
const dumpFormat = 1;
const dumpKind = 'server-store';
const entryHead = 6;
const endBytes = 44;

/** Maximum length of a frame. */
export const frameBytesMax = 1024 * 1024;
const bodyBytesMax = frameBytesMax - frameHead;
/** Maximum length of a value that a dump may hold: a damaged length must not ask for all memory. */
export const dumpValueBytesMax = 64 * 1024 * 1024;

const invalid = (message: string): TidemarkError =>
  new TidemarkError('checkpoint-invalid', message);

const sealFrame = (
  hash: Hash,
  digest: Uint8Array,
  kind: number,
  body: Uint8Array,
): { readonly digest: Uint8Array; readonly head: Uint8Array } => {
  const head = new Uint8Array(frameHead);
  head[0] = kind;
  setU32(head, 1, body.length);
  const next = hash(concatBytes([digest, head.subarray(0, 5), body]));
  head.set(next.subarray(0, checkBytes), 5);
  return { digest: next, head };
};

/**
 * Dumps the content of a store as of this call: the iterator is made now and reads from its snapshot,
 * later writes do not show. Equal contents give equal bytes.
 */
export const dumpStore = (database: Database, hash: Hash): AsyncIterable<Uint8Array> => {
  const options = {
    gte: Uint8Array.of(serverSpaceFirst),
    lt: Uint8Array.of(serverSpaceEnd),
    highWaterMarkBytes: frameBytesMax,
  };
  const iterator = database.iterator(options);
  let digest: Uint8Array = new Uint8Array(32);
  const frame = (kind: number, body: Uint8Array): Uint8Array => {
    const sealed = sealFrame(hash, digest, kind, body);
    digest = sealed.digest;
    return concatBytes([sealed.head, body]);
  };

  return (async function* frames(): AsyncGenerator<Uint8Array> {
    let entries = 0;
    let bytes = 0;
    let body = new Uint8Array(bodyBytesMax);
    let filled = 0;
    try {
      yield frame(headerFrame, utf8Encode(JSON.stringify({ format: dumpFormat, kind: dumpKind })));
      for (;;) {
        const chunk = await iterator.nextv(1_000);
        if (chunk.length === 0) break;
        for (const [key, value] of chunk) {
          if (!isContentKey(key)) continue;
          entries += 1;
          bytes += key.length + value.length;
          for (const part of [entryHeadOf(key, value), key, value]) {
            let at = 0;
            while (at < part.length) {
              const count = Math.min(part.length - at, bodyBytesMax - filled);
              body.set(part.subarray(at, at + count), filled);
              at += count;
              filled += count;
              if (filled < bodyBytesMax) continue;
              yield frame(contentFrame, body);
              body = new Uint8Array(bodyBytesMax);
              filled = 0;
            }
          }
        }
      }
      if (filled > 0) yield frame(contentFrame, body.subarray(0, filled));
      const end = new Uint8Array(endBytes);
      setU48(end, 0, entries);
      setU48(end, 6, bytes);
      end.set(digest, 12);
      yield frame(endFrame, end);
    } catch (cause) {
      throw storageError(cause);
    } finally {
      await iterator.close();
    }
  })();
};

const entryHeadOf = (key: Uint8Array, value: Uint8Array): Uint8Array => {
  const head = new Uint8Array(entryHead);
  head[0] = key.length >>> 8;
  head[1] = key.length;
  setU32(head, 2, value.length);
  return head;
};

/**
 * Reads the entries of a dump, whatever the cuts between its chunks, and verifies every frame before its
 * entries are handed on. Throws `checkpoint-invalid` on any difference, at the latest at the end. Holds
 * one frame and one entry in memory.
 */
export async function* readDump(
  chunks: AsyncIterable<Uint8Array>,
  hash: Hash,
): AsyncGenerator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
  let open: Uint8Array = new Uint8Array(0);
  let state: 'start' | 'content' | 'ended' = 'start';
  let entries = 0;
  let bytes = 0;
  for await (const { kind, body, before } of readFrames(chunks, hash)) {
    if (state === 'start') {
      if (kind !== headerFrame) throw invalid('the dump does not begin with a header');
      checkHeader(body);
      state = 'content';
      continue;
    }
    if (state === 'ended') throw invalid('the dump goes on after its end');
    if (kind === endFrame) {
      if (open.length > 0) throw invalid('the dump ends inside an entry');
      checkEnd(body, entries, bytes, before);
      state = 'ended';
      continue;
    }
    if (kind !== contentFrame) throw invalid('the dump holds an unknown frame');
    open = concatBytes([open, body]);
    let at = 0;
    while (open.length - at >= entryHead) {
      const keyLength = ((open[at] as number) << 8) | (open[at + 1] as number);
      const valueLength = getU32(open, at + 2);
      if (valueLength > dumpValueBytesMax) throw invalid('the dump holds an oversized value');
      const keyAt = at + entryHead;
      const end = keyAt + keyLength + valueLength;
      if (end > open.length) break;
      const key = open.subarray(keyAt, keyAt + keyLength);
      if (!isContentKey(key)) throw invalid('the dump holds a key that is no content');
      entries += 1;
      bytes += keyLength + valueLength;
      yield { key, value: open.subarray(keyAt + keyLength, end) };
      at = end;
    }
    open = open.slice(at);
  }
  if (state !== 'ended') throw invalid('the dump is incomplete');
}

const checkHeader = (body: Uint8Array): void => {
  let header: unknown;
  try {
    header = JSON.parse(utf8Decode(body));
  } catch {
    throw invalid('the header of the dump cannot be read');
  }
  const known =
    typeof header === 'object' &&
    header !== null &&
    'kind' in header &&
    header.kind === dumpKind &&
    'format' in header &&
    header.format === dumpFormat;
  if (!known) throw invalid('the dump is of another kind or a newer format');
};

const checkEnd = (body: Uint8Array, entries: number, bytes: number, digest: Uint8Array): void => {
  const equal =
    body.length === endBytes &&
    getU48(body, 0) === entries &&
    getU48(body, 6) === bytes &&
    equalBytes(body.subarray(12), digest);
  if (!equal) throw invalid('the counts or the digest of the dump differ');
};

interface Frame {
  readonly kind: number;
  readonly body: Uint8Array;
  /** Digest before this frame. */
  readonly before: Uint8Array;
}

async function* readFrames(chunks: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Frame> {
  let digest: Uint8Array = new Uint8Array(32);
  // Pieces wait uncopied until a whole frame is there: small chunks must not cost a copy each.
  let pieces: Uint8Array[] = [];
  let length = 0;
  let wanted = frameHead;
  for await (const chunk of chunks) {
    pieces.push(chunk);
    length += chunk.length;
    if (length < wanted) continue;
    const all = concatBytes(pieces);
    let at = 0;
    for (;;) {
      wanted = frameHead;
      if (all.length - at < frameHead) break;
      const bodyLength = getU32(all, at + 1);
      if (bodyLength > bodyBytesMax) throw invalid('the dump holds an oversized frame');
      wanted = frameHead + bodyLength;
      if (all.length - at < wanted) break;
      const kind = all[at] as number;
      const body = all.subarray(at + frameHead, at + wanted);
      const sealed = sealFrame(hash, digest, kind, body);
      if (!equalBytes(sealed.head, all.subarray(at, at + frameHead)))
        throw invalid('a frame of the dump is damaged or out of place');
      yield { kind, body, before: digest };
      digest = sealed.digest;
      at += wanted;
    }
    pieces = at === all.length ? [] : [all.slice(at)];
    length = all.length - at;
  }
  if (length > 0) throw invalid('the dump ends inside a frame');
}
