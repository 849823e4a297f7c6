import {
  concatBytes,
  invariant,
  isWellFormed,
  TidemarkError,
  textLengthMax,
  toHex,
  utf8Encode,
  type Hash,
} from '@tidemark/model';
import type { CrdtApplied, CrdtEdit, CrdtKey, FieldCrdt } from '@tidemark/ports';
import { defaultAutomergeLimits, type AutomergeLimits } from './automerge-limits.js';
import { TooLargeError, UndecodableError } from './byte-reader.js';
import { packChangeChunk, readChangeChunk, type ChangeChunk } from './change-chunk.js';
import { joinChanges, splitChanges } from './change-list.js';
import { orderChanges } from './change-order.js';
import { LoadedDocuments, type LoadedDocument } from './loaded-documents.js';
import { singleSplice } from './text-splice.js';
import { documentChunk, openText, textOf, type Automerge, type TextDoc } from './text-document.js';

/** AutomergeCrdtOptions are the hash that everything is named by, and limits. */
export interface AutomergeCrdtOptions {
  /** Synchronous SHA-256. */
  readonly hash: Hash;
  readonly limits?: Partial<AutomergeLimits>;
}

type Loaded = LoadedDocument<TextDoc>;
type Refused = Exclude<CrdtApplied, { readonly tag: 'applied' }>;
type Applied = {
  readonly tag: 'applied';
  readonly loaded: Loaded;
  readonly genesis: string | undefined;
};

const actorBytes = 16;
// Actors of the throw-away documents in which texts are merged three ways.
const baseActor = '00'.repeat(actorBytes);
const theirsActor = '01'.repeat(actorBytes);
const oursActor = '02'.repeat(actorBytes);

const verifyText = (text: string): void => {
  if (text.length > textLengthMax) {
    throw new TidemarkError('invalid-value', `a text holds at most ${textLengthMax} UTF-16 units`);
  }
  if (!isWellFormed(text))
    throw new TidemarkError('invalid-value', 'a text holds a lone surrogate');
};

class AutomergeCrdt {
  readonly #automerge: Automerge;
  readonly #hash: Hash;
  readonly #limits: AutomergeLimits;
  readonly #loaded: LoadedDocuments<TextDoc>;

  constructor(automerge: Automerge, { hash, limits }: AutomergeCrdtOptions) {
    this.#automerge = automerge;
    this.#hash = hash;
    this.#limits = { ...defaultAutomergeLimits, ...limits };
    this.#loaded = new LoadedDocuments(
      this.#limits.loadedDocumentsMax,
      this.#limits.loadedOperationsMax,
      (doc) => automerge.free(doc),
    );
  }

  genesis(key: CrdtKey, value: string): Uint8Array {
    verifyText(value);
    // JSON keeps the parts apart whatever characters they hold.
    const seed = JSON.stringify([
      'tidemark-genesis',
      key.tenant,
      key.table,
      key.record,
      key.field,
      value,
    ]);
    const actor = toHex(this.#hash(utf8Encode(seed)).subarray(0, actorBytes));
    return this.#keep(this.#newText(actor, value)).bytes;
  }

  read(document: Uint8Array): string {
    return textOf(this.#open(document).doc);
  }

  heads(document: Uint8Array): readonly string[] {
    return this.#headsOf(this.#open(document).doc);
  }

  changesOf(document: Uint8Array): Uint8Array {
    const changes = this.#automerge.getAllChanges(this.#open(document).doc);
    return joinChanges(changes.map((change) => packChangeChunk(change)));
  }

  editText(document: Uint8Array, after: string, actor: Uint8Array, timeMs: number): CrdtEdit {
    verifyText(after);
    // Typing is mostly one insertion; Automerge's difference reads the whole text (5 ms at 20,000).
    const splice = singleSplice(this.read(document), after);
    return this.#edit(document, after, actor, timeMs, (draft) =>
      splice === undefined
        ? this.#automerge.updateText(draft, ['t'], after)
        : this.#automerge.splice(draft, ['t'], splice.at, splice.remove, splice.insert),
    );
  }

  spliceText(
    document: Uint8Array,
    at: number,
    remove: number,
    insert: string,
    actor: Uint8Array,
    timeMs: number,
  ): CrdtEdit {
    const before = this.read(document);
    const end = at + remove;
    const inside = Number.isInteger(at) && Number.isInteger(remove) && at >= 0 && remove >= 0;
    if (!inside || end > before.length) {
      throw new TidemarkError('invalid-value', 'a splice lies outside the text');
    }
    const after = before.slice(0, at) + insert + before.slice(end);
    verifyText(insert);
    verifyText(after);
    return this.#edit(document, after, actor, timeMs, (draft) =>
      this.#automerge.splice(draft, ['t'], at, remove, insert),
    );
  }

  apply(document: Uint8Array | null, runs: readonly Uint8Array[]): CrdtApplied {
    const result = this.#apply(document, runs);
    if (result.tag !== 'applied') return result;
    const { bytes, doc } = result.loaded;
    return { tag: 'applied', document: bytes, value: textOf(doc) };
  }

  textDifference(
    side: Uint8Array | null,
    runs: readonly Uint8Array[],
  ): ReturnType<FieldCrdt['textDifference']> {
    // Read first: a document in memory is only sure to stay until the next one is put there.
    const earlier = side === null ? undefined : this.read(side);
    const result = this.#apply(side, runs);
    if (result.tag !== 'applied') return result;
    const { bytes, doc } = result.loaded;
    const after = textOf(doc);
    if (earlier !== undefined) return { tag: 'difference', before: earlier, after, side: bytes };
    invariant(result.genesis !== undefined, 'a document without earlier side has a genesis');
    const before = textOf(this.#automerge.view(doc, [result.genesis]));
    return { tag: 'difference', before, after, side: bytes };
  }

  reexpress(
    document: Uint8Array,
    before: string,
    after: string,
    actor: Uint8Array,
    timeMs: number,
  ): CrdtEdit {
    verifyText(before);
    verifyText(after);
    const merged = this.#mergeTexts(before, this.read(document), after);
    return this.editText(document, merged, actor, timeMs);
  }

  /** Merges two texts made from one by letting Automerge merge two throw-away documents. */
  #mergeTexts(before: string, theirs: string, ours: string): string {
    if (theirs === before || theirs === ours) return ours;
    if (ours === before) return theirs;
    const automerge = this.#automerge;
    const base = this.#newText(baseActor, before);
    const branch = (actor: string, text: string): TextDoc =>
      automerge.change(automerge.clone(base, { actor }), { time: 0 }, (draft) =>
        automerge.updateText(draft, ['t'], text),
      );
    const left = branch(theirsActor, theirs);
    const right = branch(oursActor, ours);
    const merged = automerge.merge(left, right);
    const text = textOf(merged);
    for (const doc of [base, right, merged]) automerge.free(doc);
    return text;
  }

  #newText(actor: string, value: string): TextDoc {
    return this.#automerge.change(
      this.#automerge.init<{ t: string }>({ actor }),
      { time: 0 },
      (draft) => {
        draft.t = value;
      },
    );
  }

  #edit(
    document: Uint8Array,
    after: string,
    actor: Uint8Array,
    timeMs: number,
    edit: (draft: { t: string }) => void,
  ): CrdtEdit {
    invariant(actor.length === actorBytes, 'an actor is 16 bytes');
    const automerge = this.#automerge;
    const { doc, bytes } = this.#open(document);
    const before = textOf(doc);
    if (before === after) return { document: bytes, changes: new Uint8Array(0), value: before };
    const draft = automerge.clone(doc, { actor: toHex(actor) });
    const edited = automerge.change(draft, { time: Math.floor(timeMs / 1000) }, edit);
    const change = automerge.getLastLocalChange(edited);
    invariant(change !== undefined && textOf(edited) === after, 'an edit gives the text asked for');
    if (automerge.stats(edited).numOps > this.#limits.documentOperationsMax) {
      automerge.free(edited);
      throw new TidemarkError('record-too-large', 'the history of the text is full');
    }
    const kept = this.#keep(edited);
    return { document: kept.bytes, changes: joinChanges([packChangeChunk(change)]), value: after };
  }

  #apply(document: Uint8Array | null, runs: readonly Uint8Array[]): Applied | Refused {
    const base = document === null ? undefined : this.#open(document);
    try {
      const chunks = runs.flatMap((run) => this.#readRun(run));
      const order = orderChanges(chunks, (hash) => this.#known(base, hash), base !== undefined);
      if (order.tag !== 'ordered') return order;
      const genesis = order.changes.find(({ deps }) => deps.length === 0)?.hash;
      if (order.changes.length === 0) {
        if (base === undefined) return { tag: 'missing-dependencies' };
        return { tag: 'applied', loaded: base, genesis: undefined };
      }
      return { tag: 'applied', loaded: this.#applyOrdered(base, order.changes), genesis };
    } catch (cause) {
      if (cause instanceof UndecodableError || cause instanceof TooLargeError) {
        return { tag: 'undecodable', reason: cause.message };
      }
      throw cause;
    }
  }

  #applyOrdered(base: Loaded | undefined, changes: readonly ChangeChunk[]): Loaded {
    const automerge = this.#automerge;
    let operations = base?.operations ?? 0;
    for (const change of changes) operations += change.operations;
    if (operations > this.#limits.documentOperationsMax) {
      throw new TooLargeError('the history of the text is full');
    }
    const chunks = changes.map(({ bytes }) => bytes);
    let doc: TextDoc = base === undefined ? automerge.init() : automerge.clone(base.doc);
    let copy: TextDoc | undefined;
    try {
      [doc] = automerge.applyChanges(doc, chunks);
      const bytes = automerge.save(doc);
      // Automerge accepts some forged changes and then cannot load what it saved (measured: one in
      // thirteen of those it accepts). So what is stored has been loaded once.
      copy = openText(automerge, bytes);
      const same =
        textOf(copy) === textOf(doc) &&
        this.#headsOf(copy).join() === this.#headsOf(doc).join() &&
        (base === undefined ||
          automerge.getObjectId(copy, 't') === automerge.getObjectId(base.doc, 't'));
      if (!same) throw new UndecodableError('the changes do not make a text');
      const loaded = { bytes, doc: copy, operations: automerge.stats(copy).numOps };
      this.#loaded.put(loaded);
      return loaded;
    } catch {
      if (copy !== undefined) automerge.free(copy);
      throw new UndecodableError('Automerge refuses the changes');
    } finally {
      automerge.free(doc);
    }
  }

  #readRun(run: Uint8Array): ChangeChunk[] {
    const budget = { bytes: this.#limits.runBytesMax, operations: this.#limits.runOperationsMax };
    return splitChanges(run).map((chunk) => readChangeChunk(chunk, this.#hash, budget));
  }

  #known(base: Loaded | undefined, hash: string): { readonly maxOp: number } | undefined {
    if (base === undefined) return undefined;
    return this.#automerge.getBackend(base.doc).getChangeMetaByHash(hash) ?? undefined;
  }

  #headsOf(doc: TextDoc): readonly string[] {
    return [...this.#automerge.getHeads(doc)].sort();
  }

  #keep(doc: TextDoc): Loaded {
    const bytes = this.#automerge.save(doc);
    const loaded = { bytes, doc, operations: this.#automerge.stats(doc).numOps };
    this.#loaded.put(loaded);
    return loaded;
  }

  #open(document: Uint8Array): Loaded {
    const found = this.#loaded.find(document);
    if (found !== undefined) return found;
    try {
      const doc = openText(this.#automerge, documentChunk(document));
      const bytes = concatBytes([document]);
      const loaded = { bytes, doc, operations: this.#automerge.stats(doc).numOps };
      this.#loaded.put(loaded);
      return loaded;
    } catch (cause) {
      throw new TidemarkError('malformed-message', 'bytes are no CRDT text document', {}, cause);
    }
  }
}

/**
 * Loads Automerge and gives the FieldCrdt made with it; every call after that is synchronous.
 * Import it at the first CRDT field: Automerge's WebAssembly takes 3.6 MB.
 */
export const loadAutomergeCrdt = async (options: AutomergeCrdtOptions): Promise<FieldCrdt> => {
  const crdt = new AutomergeCrdt(await import('@automerge/automerge'), options);
  return {
    genesis: (key, value) => crdt.genesis(key, value),
    read: (document) => crdt.read(document),
    heads: (document) => crdt.heads(document),
    changesOf: (document) => crdt.changesOf(document),
    editText: (document, after, actor, timeMs) => crdt.editText(document, after, actor, timeMs),
    spliceText: (document, at, remove, insert, actor, timeMs) =>
      crdt.spliceText(document, at, remove, insert, actor, timeMs),
    apply: (document, changes) => crdt.apply(document, changes),
    textDifference: (side, changes) => crdt.textDifference(side, changes),
    reexpress: (document, before, after, actor, timeMs) =>
      crdt.reexpress(document, before, after, actor, timeMs),
  };
};
