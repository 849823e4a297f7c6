import type * as AutomergeModule from '@automerge/automerge';
import { UndecodableError } from './byte-reader.js';

/** Automerge is the module, loaded lazily. */
export type Automerge = typeof AutomergeModule;

/** TextDoc is an Automerge document with one key: the text. */
export type TextDoc = AutomergeModule.Doc<{ t: string }>;

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
