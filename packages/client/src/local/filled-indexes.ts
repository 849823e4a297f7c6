import { utf8Decode, visitBlock, type RecordId, type TableId } from '@tidemark/model';
import { IndexDraft } from './index-draft.js';
import type { ReplicaCore } from './replica-core.js';
import type { StagingMeta } from './replica-meta.js';

/** Bytes of blocks that are read at once. */
const readBytes = 1_024 * 1_024;

/** Last record of a filled table whose index entries are stored. */
export interface IndexedTo {
  readonly table: TableId;
  readonly id: RecordId;
}

/** Where indexing begins; null where no table that fills has an index. */
export const firstIndexed = (
  { meta }: ReplicaCore,
  { filling }: Pick<StagingMeta, 'filling'>,
): IndexedTo | null =>
  filling.some((id) => (meta.indexes[id] ?? []).length > 0) ? { table: 0, id: '' } : null;

/** Next part of the indexes of filled tables: entries of the rows up to `to`, which is null at the end. */
export interface FilledPart {
  readonly table: TableId;
  readonly draft: IndexDraft;
  readonly to: IndexedTo | null;
}

type Blocks = Promise<readonly Uint8Array[]>;

const lastIdOf = (block: Uint8Array): RecordId => {
  let [from, to] = [0, 0];
  visitBlock(block, (id, idEnd) => {
    [from, to] = [id, idEnd];
  });
  return utf8Decode(block.subarray(from, to));
};

/** Indexes of tables that a fill stored in blocks, behind their rows. Rows of their own brought their entries along. */
export class FilledIndexes {
  readonly #core: ReplicaCore;
  readonly #tables: readonly TableId[];
  readonly #layer: number;
  #draft: { readonly table: TableId; readonly draft: IndexDraft } | undefined;
  /** Blocks that are read before they are asked for: nobody else writes into the layer of a staging. */
  #ahead:
    { readonly table: TableId; readonly after: RecordId; readonly blocks: Blocks } | undefined;

  constructor(core: ReplicaCore, { layer, filling }: Pick<StagingMeta, 'layer' | 'filling'>) {
    this.#core = core;
    this.#layer = layer;
    this.#tables = filling
      .filter((id) => (core.meta.indexes[id] ?? []).length > 0)
      .sort((a, b) => a - b);
  }

  /** Reads the rows behind a place, as many as a run takes. Its draft is used again by the next call. */
  async read(from: IndexedTo): Promise<FilledPart | null> {
    const tables = this.#tables.filter((id) => id >= from.table);
    for (const [i, id] of tables.entries()) {
      const draft = this.#draftOf(id);
      if (draft === undefined) continue;
      const last = await this.#readInto(draft, id, id === from.table ? from.id : '');
      if (draft.count === 0) continue;
      const next = tables[i + 1];
      const behind = next === undefined ? null : { table: next, id: '' };
      return { table: id, draft, to: last === null ? behind : { table: id, id: last } };
    }
    return null;
  }

  /** Last id that was read; null at the end of the table. */
  async #readInto(draft: IndexDraft, table: TableId, from: RecordId): Promise<RecordId | null> {
    let last = from;
    while (!draft.isFull) {
      const blocks = await this.#blocksBehind(table, last);
      const end = blocks.at(-1);
      if (end === undefined) return null;
      last = lastIdOf(end);
      // The next ones come while the keys of these are read.
      this.#ahead = { table, after: last, blocks: this.#read(table, last) };
      this.#ahead.blocks.catch(() => undefined);
      for (const bytes of blocks)
        visitBlock(bytes, (id, idEnd, row, rowEnd) =>
          draft.add(bytes, id, idEnd, bytes.subarray(row, rowEnd)),
        );
    }
    return last;
  }

  #blocksBehind(table: TableId, after: RecordId): Blocks {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead?.table === table && ahead.after === after
      ? ahead.blocks
      : this.#read(table, after);
  }

  #read(table: TableId, after: RecordId): Blocks {
    const { store } = this.#core;
    return store.readBlocks(table, this.#layer, after === '' ? undefined : after, readBytes);
  }

  #draftOf(id: TableId): IndexDraft | undefined {
    const table = this.#core.schema.tablesById.get(id);
    if (table === undefined) return undefined;
    if (this.#draft?.table !== id)
      this.#draft = { table: id, draft: new IndexDraft(this.#core.indexesOf(table)) };
    this.#draft.draft.clear();
    return this.#draft.draft;
  }
}
