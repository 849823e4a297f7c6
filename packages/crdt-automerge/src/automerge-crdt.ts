import {
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
import { TooLargeError } from './byte-reader.js';
import {
  packChangeChunk,
  readChangeChunk,
  type ChangeChunk,
  type ChunkBudget,
} from './change-chunk.js';
import { joinChanges, splitChanges } from './change-list.js';
import { orderChanges } from './change-order.js';
import { textSplices } from './text-splices.js';
import { textOf, type Automerge, type TextDoc } from './text-document.js';
import { TextDocuments, undecodableReason, type LoadedText } from './text-documents.js';

/** AutomergeCrdtOptions are the hash that everything is named by, and limits. */
export interface AutomergeCrdtOptions {
  /** Synchronous SHA-256. */
  readonly hash: Hash;
  readonly limits?: Partial<AutomergeLimits>;
}

type Refused = Exclude<CrdtApplied, { readonly tag: 'applied' }>;
type Applied = {
  readonly tag: 'applied';
  readonly loaded: LoadedText;
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

const appliedOf = (result: Applied | Refused): CrdtApplied => {
  if (result.tag !== 'applied') return result;
  const { bytes, text } = result.loaded;
  return { tag: 'applied', document: bytes, value: text };
};

class AutomergeCrdt {
  readonly #automerge: Automerge;
  readonly #hash: Hash;
  readonly #limits: AutomergeLimits;
  readonly #documents: TextDocuments;

  constructor(automerge: Automerge, { hash, limits }: AutomergeCrdtOptions) {
    this.#automerge = automerge;
    this.#hash = hash;
    this.#limits = { ...defaultAutomergeLimits, ...limits };
    this.#documents = new TextDocuments(automerge, hash, this.#limits);
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
    return this.#documents.keep(this.#newText(actor, value)).bytes;
  }

  read(document: Uint8Array): string {
    return this.#documents.open(document).text;
  }

  heads(document: Uint8Array): readonly string[] {
    return this.#documents.open(document).heads;
  }

  changesOf(document: Uint8Array): Uint8Array {
    const changes = this.#documents.changesOf(this.#documents.open(document));
    return joinChanges(changes.map((change) => packChangeChunk(change)));
  }

  compact(document: Uint8Array): Uint8Array {
    return this.#documents.compact(document);
  }

  editText(document: Uint8Array, after: string, actor: Uint8Array, timeMs: number): CrdtEdit {
    verifyText(after);
    const before = this.read(document);
    return this.#edit(document, after, actor, timeMs, (draft) =>
      this.#rewrite(draft, before, after),
    );
  }

  #rewrite(draft: { t: string }, before: string, after: string): void {
    const splices = textSplices(before, after);
    if (splices === undefined) return this.#automerge.updateText(draft, ['t'], after);
    // From the end, so that the places before still hold.
    for (const { at, remove, insert } of [...splices].reverse())
      this.#automerge.splice(draft, ['t'], at, remove, insert);
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
    return appliedOf(this.#apply(document, runs));
  }

  append(document: Uint8Array, runs: readonly Uint8Array[]): CrdtApplied {
    return appliedOf(this.#extend(document, runs));
  }

  settle(document: Uint8Array): Uint8Array {
    const entry = this.#documents.open(document);
    try {
      return this.#documents.settle(entry).bytes;
    } catch (cause) {
      undecodableReason(cause);
      return document;
    }
  }

  textDifference(
    side: Uint8Array | null,
    runs: readonly Uint8Array[],
  ): ReturnType<FieldCrdt['textDifference']> {
    const earlier = side === null ? undefined : this.read(side);
    const result = this.#apply(side, runs);
    if (result.tag !== 'applied') return result;
    const { bytes, text: after } = result.loaded;
    if (earlier !== undefined) return { tag: 'difference', before: earlier, after, side: bytes };
    invariant(result.genesis !== undefined, 'a document without earlier side has a genesis');
    const doc = this.#documents.docOf(result.loaded);
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
        this.#rewrite(draft, before, text),
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
    const base = this.#documents.open(document);
    if (base.text === after)
      return { document: base.bytes, changes: new Uint8Array(0), value: after };
    const draft = automerge.clone(this.#documents.docOf(base), { actor: toHex(actor) });
    const edited = automerge.change(draft, { time: Math.floor(timeMs / 1000) }, edit);
    const change = automerge.getLastLocalChange(edited);
    invariant(change !== undefined, 'an edit makes a change');
    if (textOf(edited) !== after) {
      // Only what was forged into the document does that.
      automerge.free(edited);
      throw new TidemarkError('invalid-value', 'what the text holds lets this edit land elsewhere');
    }
    const kept = this.#keepEdited(base, edited, change);
    return { document: kept.bytes, changes: joinChanges([packChangeChunk(change)]), value: after };
  }

  #keepEdited(base: LoadedText, edited: TextDoc, change: Uint8Array): LoadedText {
    try {
      const chunk = readChangeChunk(change, this.#hash, this.#budget());
      this.#verifyOperations(base, [chunk]);
      const extended = this.#documents.extend(base, [chunk]);
      if (extended === undefined) return this.#documents.keep(edited);
      const settled = this.#documents.settle(extended);
      if (settled.doc === undefined) settled.doc = edited;
      else this.#automerge.free(edited);
      return settled;
    } catch (cause) {
      this.#automerge.free(edited);
      if (!(cause instanceof TooLargeError)) throw cause;
      throw new TidemarkError('record-too-large', 'the history of the text is full');
    }
  }

  #apply(document: Uint8Array | null, runs: readonly Uint8Array[]): Applied | Refused {
    const result = this.#extend(document, runs);
    if (result.tag !== 'applied') return result;
    try {
      return { ...result, loaded: this.#documents.settle(result.loaded) };
    } catch (cause) {
      return { tag: 'undecodable', reason: undecodableReason(cause) };
    }
  }

  #extend(document: Uint8Array | null, runs: readonly Uint8Array[]): Applied | Refused {
    const documents = this.#documents;
    const base = document === null ? undefined : documents.open(document);
    try {
      const chunks = runs.flatMap((run) => this.#readRun(run));
      const known = (hash: string) => base && documents.known(base, hash);
      const order = orderChanges(chunks, known, base !== undefined);
      if (order.tag !== 'ordered') return order;
      const genesis = order.changes.find(({ deps }) => deps.length === 0)?.hash;
      if (order.changes.length === 0) {
        if (base === undefined) return { tag: 'missing-dependencies' };
        return { tag: 'applied', loaded: base, genesis: undefined };
      }
      this.#verifyOperations(base, order.changes);
      const extended = base && documents.extend(base, order.changes);
      const loaded = extended ?? documents.applyGuarded(base, order.changes);
      return { tag: 'applied', loaded, genesis };
    } catch (cause) {
      return { tag: 'undecodable', reason: undecodableReason(cause) };
    }
  }

  #verifyOperations(base: LoadedText | undefined, changes: readonly ChangeChunk[]): void {
    let operations = base?.operations ?? 0;
    for (const change of changes) operations += change.operations;
    if (operations > this.#limits.documentOperationsMax)
      throw new TooLargeError('the history of the text is full');
  }

  #budget(): ChunkBudget {
    return { bytes: this.#limits.runBytesMax, operations: this.#limits.runOperationsMax };
  }

  #readRun(run: Uint8Array): ChangeChunk[] {
    const budget = this.#budget();
    return splitChanges(run).map((chunk) => readChangeChunk(chunk, this.#hash, budget));
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
    compact: (document) => crdt.compact(document),
    editText: (document, after, actor, timeMs) => crdt.editText(document, after, actor, timeMs),
    spliceText: (document, at, remove, insert, actor, timeMs) =>
      crdt.spliceText(document, at, remove, insert, actor, timeMs),
    apply: (document, changes) => crdt.apply(document, changes),
    append: (document, changes) => crdt.append(document, changes),
    settle: (document) => crdt.settle(document),
    textDifference: (side, changes) => crdt.textDifference(side, changes),
    reexpress: (document, before, after, actor, timeMs) =>
      crdt.reexpress(document, before, after, actor, timeMs),
  };
};
