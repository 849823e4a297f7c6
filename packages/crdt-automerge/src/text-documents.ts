import { concatBytes, invariant, TidemarkError, type Hash } from '@tidemark/model';
import type { AutomergeLimits } from './automerge-limits.js';
import { TooLargeError, UndecodableError } from './byte-reader.js';
import { readChangeChunk, type ChangeChunk } from './change-chunk.js';
import { appendBytes } from './appended-bytes.js';
import { mustSave, savedLength, splitDocument } from './document-bytes.js';
import { KnownChanges } from './known-changes.js';
import { LoadedDocuments } from './loaded-documents.js';
import { PlainDraft, type AuthorEnd, type PlainText } from './plain-text.js';
import { readStoredCharacters } from './stored-characters.js';
import { openText, textOf, type Automerge, type TextDoc } from './text-document.js';

/** Largest number of operations of a saved document whose changes are applied without Automerge. */
export const plainTextOperationsMax = 262_144;

/** LoadedText is one version of a document, in memory. Two of its parts are made when they are asked for. */
export interface LoadedText {
  readonly bytes: Uint8Array;
  /** Bytes that were saved at once; changes follow them. */
  readonly savedLength: number;
  readonly operations: number;
  /** Work of the changes behind the saved part, as `plainWorkMax` counts it. */
  readonly work: number;
  readonly text: string;
  /** Sorted. */
  readonly heads: readonly string[];
  /** Never edited: edits go to a clone. */
  doc: TextDoc | undefined;
  /** Null: changes on this document need Automerge. It follows from the bytes alone. */
  plain: PlainText | null | undefined;
}

const sortedHeads = (automerge: Automerge, doc: TextDoc): readonly string[] =>
  [...automerge.getHeads(doc)].sort();

const lastOfAuthors = (
  changes: readonly { readonly actor: string; readonly seq: number; readonly maxOp: number }[],
): ReadonlyMap<string, AuthorEnd> => {
  const authors = new Map<string, AuthorEnd>();
  for (const { actor, seq, maxOp } of changes)
    if (seq > (authors.get(actor)?.seq ?? 0)) authors.set(actor, { seq, maxOp });
  return authors;
};

/** Version to which a draft of plain changes leads. */
const loadedOf = (
  bytes: Uint8Array,
  lengthSaved: number,
  draft: PlainDraft,
): LoadedText & { readonly plain: PlainText } => {
  const plain = draft.finish();
  const { text } = plain.characters;
  const { heads } = plain;
  return { bytes, savedLength: lengthSaved, ...draft.cost, text, heads, doc: undefined, plain };
};

/** Tells whether the bytes are a document that was saved as a whole. */
const isWhole = (document: Uint8Array): boolean => {
  try {
    return savedLength(document) === document.length;
  } catch (cause) {
    if (cause instanceof UndecodableError) return false;
    throw cause;
  }
};

/** Converts what goes wrong while changes are put onto a document; rethrows everything else. */
export const undecodableReason = (cause: unknown): string => {
  if (cause instanceof UndecodableError || cause instanceof TooLargeError) return cause.message;
  throw cause;
};

/**
 * TextDocuments opens documents and puts changes on them.
 *
 * The bytes of a document are what Automerge saved last and the changes since. Plain changes (characters
 * inserted and deleted) are applied here, since Automerge walks the whole text at each call; Automerge saves
 * a document to be stored when enough of them have gathered, and judges every change that is not plain. Which
 * way a change goes follows from the bytes, never from what is in memory.
 */
export class TextDocuments {
  readonly #automerge: Automerge;
  readonly #hash: Hash;
  readonly #limits: AutomergeLimits;
  readonly #loaded: LoadedDocuments<LoadedText>;

  constructor(automerge: Automerge, hash: Hash, limits: AutomergeLimits) {
    this.#automerge = automerge;
    this.#hash = hash;
    this.#limits = limits;
    this.#loaded = new LoadedDocuments(
      limits.loadedDocumentsMax,
      limits.loadedOperationsMax,
      (entry) => {
        if (entry.doc !== undefined) automerge.free(entry.doc);
        entry.doc = undefined;
      },
    );
  }

  /** Document with these bytes. Throws TidemarkError `malformed-message` on bytes that are none. */
  open(document: Uint8Array): LoadedText {
    const found = this.#loaded.find(document);
    if (found !== undefined) return found;
    try {
      const bytes = concatBytes([document]);
      const { saved, since } = splitDocument(bytes);
      if (since.length === 0)
        return this.#put(this.#entryOf(bytes, openText(this.#automerge, bytes)));
      return this.#put(this.#replay(bytes, this.open(saved), since));
    } catch (cause) {
      throw new TidemarkError('malformed-message', 'bytes are no CRDT text document', {}, cause);
    }
  }

  /** Saves a document that Automerge made. It is taken over. */
  keep(doc: TextDoc): LoadedText {
    return this.#put(this.#entryOf(this.#automerge.save(doc), doc));
  }

  /** Automerge's document, to be read or cloned before the next call. Its changes may lie in another order than saved. */
  docOf(entry: LoadedText): TextDoc {
    entry.doc ??= this.#load(entry);
    return entry.doc;
  }

  /** Change of a document, or undefined. */
  known(entry: LoadedText, hash: string): { readonly maxOp: number } | undefined {
    const plain = this.#plainOf(entry);
    if (plain !== null) return plain.changes.get(hash);
    return this.#automerge.getBackend(this.docOf(entry)).getChangeMetaByHash(hash) ?? undefined;
  }

  /** Changes of a document in the order in which a document opened from its bytes holds them. */
  changesOf(entry: LoadedText): Uint8Array[] {
    const doc = this.#load(entry);
    try {
      return this.#automerge.getAllChanges(doc);
    } finally {
      this.#automerge.free(doc);
    }
  }

  /**
   * Puts plain changes, each after those it depends on, onto a document. Undefined when one is not plain, or
   * when they would take too much work here: Automerge applies them then.
   */
  extend(base: LoadedText, changes: readonly ChangeChunk[]): LoadedText | undefined {
    const plainBase = this.#plainOf(base);
    if (plainBase === null) return undefined;
    const draft = new PlainDraft(plainBase, base, this.#limits.plainWorkMax);
    for (const change of changes) if (draft.add(change) !== 'added') return undefined;
    const added = changes.map((change) => change.bytes);
    const bytes = appendBytes(base.bytes, added);
    return this.#put(loadedOf(bytes, base.savedLength, draft));
  }

  /**
   * The document, saved anew when it has gathered too many changes to be stored like this.
   * Throws UndecodableError when Automerge cannot save what they make.
   */
  settle(entry: LoadedText): LoadedText {
    if (!mustSave(entry.savedLength, entry.bytes.length)) return entry;
    return this.#save(this.#load(entry), entry.text, entry.plain ?? undefined);
  }

  /**
   * The document saved anew, where changes gathered behind it and Automerge can save them; else it comes back
   * as it is. Throws TidemarkError `malformed-message` on bytes that are no document.
   */
  compact(document: Uint8Array): Uint8Array {
    if (isWhole(document)) return document;
    const entry = this.open(document);
    try {
      return this.#save(this.#load(entry), entry.text, entry.plain ?? undefined).bytes;
    } catch (cause) {
      undecodableReason(cause);
      return document;
    }
  }

  /** Lets Automerge apply changes, in order. Throws UndecodableError when it refuses them or they make no text. */
  applyGuarded(base: LoadedText | undefined, changes: readonly ChangeChunk[]): LoadedText {
    const automerge = this.#automerge;
    const textId = base && automerge.getObjectId(this.docOf(base), 't');
    let doc: TextDoc = base === undefined ? automerge.init() : this.#load(base);
    try {
      [doc] = automerge.applyChanges(
        doc,
        changes.map(({ bytes }) => bytes),
      );
    } catch {
      automerge.free(doc);
      throw new UndecodableError('Automerge refuses the changes');
    }
    if (textId !== undefined && automerge.getObjectId(doc, 't') !== textId) {
      automerge.free(doc);
      throw new UndecodableError('the changes do not make a text');
    }
    return this.#save(doc, undefined, undefined);
  }

  /*
   * Automerge accepts some forged changes and then cannot load what it saved (measured: one in thirteen of
   * those it accepts). So what is stored has been loaded once.
   */
  #save(doc: TextDoc, text: string | undefined, plain: PlainText | undefined): LoadedText {
    const automerge = this.#automerge;
    let copy: TextDoc | undefined;
    try {
      const bytes = automerge.save(doc);
      copy = openText(automerge, bytes);
      const entry = this.#entryOf(bytes, copy);
      const same =
        entry.text === textOf(doc) &&
        entry.text === (text ?? entry.text) &&
        automerge.getObjectId(copy, 't') === automerge.getObjectId(doc, 't') &&
        entry.heads.join() === (plain?.heads ?? sortedHeads(automerge, doc)).join();
      if (!same) throw new UndecodableError('the changes do not make a text');
      if (plain !== undefined) entry.plain = this.#readPlain(entry, copy, plain);
      return this.#put(entry);
    } catch {
      if (copy !== undefined) automerge.free(copy);
      throw new UndecodableError('Automerge refuses the changes');
    } finally {
      automerge.free(doc);
    }
  }

  /** A document of its own, with the changes in the order that follows from the bytes. */
  #load(entry: LoadedText): TextDoc {
    const automerge = this.#automerge;
    const { saved, since } = splitDocument(entry.bytes);
    const found = entry.savedLength === entry.bytes.length ? entry : this.#loaded.find(saved);
    const doc = found?.doc === undefined ? openText(automerge, saved) : automerge.clone(found.doc);
    if (since.length === 0) return doc;
    try {
      return automerge.applyChanges(doc, [...since])[0];
    } catch (cause) {
      automerge.free(doc);
      throw new TidemarkError('malformed-message', 'bytes are no CRDT text document', {}, cause);
    }
  }

  #replay(bytes: Uint8Array, base: LoadedText, since: readonly Uint8Array[]): LoadedText {
    const budget = { bytes: bytes.length, operations: this.#limits.documentOperationsMax };
    const plainBase = this.#plainOf(base);
    const draft = plainBase && new PlainDraft(plainBase, base, this.#limits.plainWorkMax);
    for (const chunk of since) {
      const added = draft?.add(readChangeChunk(chunk, this.#hash, budget));
      // It was written under a wider bound: Automerge opens it, and the next change saves it anew.
      if (added === 'costly') return this.#openWhole(bytes, base);
      if (added !== 'added') throw new UndecodableError('changes that do not fit their document');
    }
    invariant(draft !== null, 'a document with changes behind it has some');
    return loadedOf(bytes, base.savedLength, draft);
  }

  #openWhole(bytes: Uint8Array, { savedLength }: LoadedText): LoadedText {
    const entry = this.#entryOf(bytes, openText(this.#automerge, bytes));
    return { ...entry, savedLength, plain: null };
  }

  #entryOf(bytes: Uint8Array, doc: TextDoc): LoadedText {
    return {
      bytes,
      savedLength: bytes.length,
      operations: this.#automerge.stats(doc).numOps,
      work: 0,
      text: textOf(doc),
      heads: sortedHeads(this.#automerge, doc),
      doc,
      plain: undefined,
    };
  }

  #plainOf(entry: LoadedText): PlainText | null {
    if (entry.plain === undefined)
      entry.plain = this.#readPlain(entry, this.docOf(entry), undefined);
    return entry.plain;
  }

  /** `sharing` are the changes of the document where they are known: reading them costs as much as loading. */
  #readPlain(
    entry: LoadedText,
    doc: TextDoc,
    sharing: Pick<PlainText, 'changes' | 'authors'> | undefined,
  ): PlainText | null {
    if (entry.operations > plainTextOperationsMax) return null;
    const backend = this.#automerge.getBackend(doc);
    const stored = readStoredCharacters(backend.saveNoCompress(), plainTextOperationsMax);
    if (stored === undefined || stored.characters.text !== entry.text) return null;
    const { heads } = entry;
    if (sharing !== undefined)
      return { ...stored, changes: sharing.changes, authors: sharing.authors, heads };
    const metas = backend.getChangesMeta([]);
    const changes = KnownChanges.of(metas);
    return { ...stored, changes, authors: lastOfAuthors(metas), heads };
  }

  #put(entry: LoadedText): LoadedText {
    this.#loaded.put(entry);
    return entry;
  }
}
