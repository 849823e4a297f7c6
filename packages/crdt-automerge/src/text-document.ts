import type * as AutomergeModule from '@automerge/automerge';
import { ByteReader, UndecodableError } from './byte-reader.js';

/** Automerge is the module, loaded lazily. */
export type Automerge = typeof AutomergeModule;

/** TextDoc is an Automerge document with one key: the text. */
export type TextDoc = AutomergeModule.Doc<{ t: string }>;

const documentType = 0;
const chunkHeaderBytes = 8;

/**
 * Gives the bytes back when they are exactly one document chunk.
 * Throws UndecodableError on anything else, such as changes or a document with a tail.
 */
export const documentChunk = (bytes: Uint8Array): Uint8Array => {
  const reader = new ByteReader(bytes);
  reader.take(chunkHeaderBytes);
  if (reader.byte() !== documentType) throw new UndecodableError('not a chunk of a document');
  reader.take(reader.uleb());
  if (!reader.done) throw new UndecodableError('bytes after a document');
  return bytes;
};

/** Text of a document. */
export const textOf = (doc: TextDoc): string => doc.t;

/**
 * Loads a document and verifies its shape: one text under `t`, written by one genesis.
 * Throws on malformed bytes and on any other shape; nothing stays in memory then.
 */
export const openText = (automerge: Automerge, bytes: Uint8Array): TextDoc => {
  const doc: TextDoc = automerge.load(bytes);
  const keys = Object.keys(doc);
  const isText =
    keys.length === 1 &&
    typeof doc.t === 'string' &&
    automerge.getObjectId(doc, 't')?.startsWith('1@') === true &&
    automerge.getConflicts(doc, 't') === undefined;
  if (isText) return doc;
  automerge.free(doc);
  throw new UndecodableError('not a document with one text');
};
