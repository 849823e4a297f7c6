import { concatBytes, equalBytes, toHex, type Hash } from '@tidemark/model';
import { deflateSync } from 'fflate';
import { inflateBounded } from './bounded-inflate.js';
import { ByteReader, TooLargeError, UndecodableError, ulebBytes } from './byte-reader.js';
import { columnRows } from './column-rows.js';

const magic = Uint8Array.of(0x85, 0x6f, 0x4a, 0x83);
const checksumBytes = 4;
const changeType = 1;
const deflatedChangeType = 2;
const hashBytes = 32;
const actorBytesMax = 64;
const depsMax = 1_000;
const actorsMax = 10_000;
const columnsMax = 64;
const messageBytesMax = 1_024;
const deflatedColumnBit = 8;
// Below this size a change is mostly hashes, which do not shrink.
const deflateFromBytes = 1_024;

/** ChunkBudget is what a list of changes may still spend; reading a chunk lowers it. */
export interface ChunkBudget {
  /** Bytes of changes after inflating. */
  bytes: number;
  /** Operations, counted from run lengths without unrolling them. */
  operations: number;
}

/** ChangeChunk is the head of one Automerge change, with its bytes uncompressed. */
export interface ChangeChunk {
  /** Whole chunk, never deflated: what Automerge is given. */
  readonly bytes: Uint8Array;
  /** What the checksum covers behind type and length: head and columns. */
  readonly content: Uint8Array;
  /** Hash of the change, hexadecimal. */
  readonly hash: string;
  readonly deps: readonly string[];
  /** Actor, hexadecimal. */
  readonly actor: string;
  readonly seq: number;
  readonly startOp: number;
  /** Number of operations; the last one is numbered `startOp + operations - 1`. */
  readonly operations: number;
}

const chunkOf = (type: number, checksum: Uint8Array, content: Uint8Array): Uint8Array =>
  concatBytes([magic, checksum, Uint8Array.of(type, ...ulebBytes(content.length)), content]);

// Automerge hashes a change from its type on, always uncompressed.
const hashedBytes = (content: Uint8Array): Uint8Array =>
  concatBytes([Uint8Array.of(changeType, ...ulebBytes(content.length)), content]);

const readActor = (reader: ByteReader): string => {
  const length = reader.uleb();
  if (length === 0 || length > actorBytesMax) throw new UndecodableError('length of an actor');
  return toHex(reader.take(length));
};

const countOperations = (reader: ByteReader, operationsMax: number): number => {
  const columns = reader.uleb();
  if (columns > columnsMax) throw new UndecodableError('too many columns');
  const lengths: [specification: number, length: number][] = [];
  for (let i = 0; i < columns; i += 1) {
    const specification = reader.uleb();
    if ((specification & deflatedColumnBit) !== 0) throw new UndecodableError('deflated column');
    lengths.push([specification, reader.uleb()]);
  }
  let rowsMax = 0;
  let operations = 0;
  for (const [specification, length] of lengths) {
    const rows = columnRows(specification, reader.take(length), operationsMax);
    // 0x42 is the column of actions: exactly one row for each operation.
    if (specification === 0x42) operations = rows;
    rowsMax = Math.max(rowsMax, rows);
  }
  // Predecessors may outnumber operations (a deletion of text written twice), other columns may not.
  if (rowsMax > 0 && operations === 0) throw new UndecodableError('rows without actions');
  return operations;
};

const readContent = (
  content: Uint8Array,
  operationsMax: number,
): Omit<ChangeChunk, 'bytes' | 'content' | 'hash'> => {
  const reader = new ByteReader(content);
  const depCount = reader.uleb();
  if (depCount > depsMax) throw new UndecodableError('too many dependencies');
  const deps: string[] = [];
  for (let i = 0; i < depCount; i += 1) deps.push(toHex(reader.take(hashBytes)));
  const actor = readActor(reader);
  const seq = reader.uleb();
  const startOp = reader.uleb();
  reader.sleb();
  const messageBytes = reader.uleb();
  if (messageBytes > messageBytesMax) throw new UndecodableError('message too long');
  reader.take(messageBytes);
  const others = reader.uleb();
  if (others > actorsMax) throw new UndecodableError('too many actors');
  for (let i = 0; i < others; i += 1) readActor(reader);
  const operations = countOperations(reader, operationsMax);
  return { deps, actor, seq, startOp, operations };
};

/**
 * Reads one change chunk and lowers the budget by what it spends. A deflated chunk is inflated with
 * the budget as hard bound and given back uncompressed; the checksum is verified on those bytes.
 * Throws UndecodableError on malformed bytes and on chunks of a document, TooLargeError over the
 * budget.
 */
export const readChangeChunk = (
  chunk: Uint8Array,
  hash: Hash,
  budget: ChunkBudget,
): ChangeChunk => {
  const reader = new ByteReader(chunk);
  if (!equalBytes(reader.take(magic.length), magic)) throw new UndecodableError('no magic bytes');
  const checksum = reader.take(checksumBytes);
  const type = reader.byte();
  if (type !== changeType && type !== deflatedChangeType) {
    throw new UndecodableError('not a chunk of a change');
  }
  const stored = reader.take(reader.uleb());
  if (!reader.done) throw new UndecodableError('bytes after a chunk');
  if (type === changeType && stored.length > budget.bytes)
    throw new TooLargeError('change too large');
  const content = type === changeType ? stored : inflateBounded(stored, budget.bytes);
  const hashed = hashedBytes(content);
  const digest = hash(hashed);
  if (!equalBytes(digest.subarray(0, checksumBytes), checksum)) {
    throw new UndecodableError('checksum differs');
  }
  const head = readContent(content, budget.operations);
  budget.bytes -= content.length;
  budget.operations -= head.operations;
  const bytes = type === changeType ? chunk : chunkOf(changeType, checksum, content);
  return { ...head, bytes, content, hash: toHex(digest) };
};

/** Deflates an uncompressed change chunk when that saves space: large pastes cost the op log less. */
export const packChangeChunk = (chunk: Uint8Array): Uint8Array => {
  if (chunk.length < deflateFromBytes || chunk[magic.length + checksumBytes] !== changeType) {
    return chunk;
  }
  const reader = new ByteReader(chunk);
  reader.take(magic.length + checksumBytes + 1);
  const packed = deflateSync(reader.take(reader.uleb()));
  const checksum = chunk.subarray(magic.length, magic.length + checksumBytes);
  const out = chunkOf(deflatedChangeType, checksum, packed);
  return out.length < chunk.length ? out : chunk;
};
