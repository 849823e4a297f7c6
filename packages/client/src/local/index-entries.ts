import {
  equalBytes,
  type FieldDefinition,
  type RecordId,
  type RowFields,
  type SchemaTable,
} from '@tidemark/model';
import type { LayerPut } from '@tidemark/ports';
import { indexKey } from './index-key.js';
import type { IndexMeta } from './replica-meta.js';

/** Index of a table, with the definitions of its fields. */
export interface TableIndex {
  readonly no: number;
  readonly ready: boolean;
  readonly fields: readonly FieldDefinition[];
}

/** Binds the stored indexes of a table to its schema; none is ready where they are `behind` the rows. */
export const tableIndexes = (
  table: SchemaTable,
  metas: readonly IndexMeta[] | undefined,
  isBehind: boolean,
): readonly TableIndex[] =>
  (metas ?? []).map(({ no, ready, fields }) => ({
    no,
    ready: ready && !isBehind,
    fields: fields.map((id) => table.fieldsById.get(id) as FieldDefinition),
  }));

/** Record whose index entries change, and the layer that takes them. */
export interface IndexTarget {
  readonly layer: number;
  readonly table: number;
  readonly id: RecordId;
}

/**
 * Adds the puts that turn the entries of `before` into those of `after`. With `sure` an entry that stays
 * is not written again; without it the layer may hide it, so it is.
 */
export const pushIndexPuts = (
  puts: LayerPut[],
  target: IndexTarget,
  indexes: readonly TableIndex[],
  before: readonly (RowFields | null)[],
  after: RowFields | null,
  sure: boolean,
): void => {
  for (const index of indexes) {
    const key = after === null ? null : indexKey(index.fields, after);
    let stays = false;
    for (const fields of before) {
      if (fields === null) continue;
      const old = indexKey(index.fields, fields);
      if (key !== null && equalBytes(old, key)) stays = true;
      else puts.push({ space: 'index', ...target, index: index.no, key: old, present: false });
    }
    if (key !== null && !(sure && stays))
      puts.push({ space: 'index', ...target, index: index.no, key, present: true });
  }
};
