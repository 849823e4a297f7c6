import { utf8Encode, type Hash } from '@tidemark/model';
import type { MergeCrdt, MergeRecord } from './decision.js';
import { documentIn } from './row-documents.js';

/**
 * Logical hash of a record: what it says, never how it is stored.
 *
 * CRDT fields count by their sorted heads and their text, since equal documents may be saved as other
 * bytes. `lastOp` and `chainFrom` count too: later decisions depend on them.
 */
export const rowHash = (
  record: MergeRecord,
  crdt: Pick<MergeCrdt, 'heads'>,
  hash: Hash,
): Uint8Array => {
  const { row } = record;
  const heads: Record<string, readonly string[]> = {};
  for (const id in row.docs) {
    const document = documentIn(crdt, row.docs, Number(id));
    if (document !== undefined) heads[id] = crdt.heads(document);
  }
  const fields: Record<string, unknown> = {};
  for (const id in row.fields) if (row.fields[id] !== null) fields[id] = row.fields[id];
  return hash(
    utf8Encode(
      JSON.stringify([
        row.version.incarnation,
        row.version.n,
        row.born,
        row.modifiedOn,
        row.modifiedBy,
        row.createdOn,
        row.owner,
        record.deleted,
        fields,
        heads,
        row.editedAt,
        record.lastOp,
        record.chainFrom,
      ]),
    ),
  );
};
