import type { Operation, TableDefinition } from '@tidemark/model';
import type { TypedTokens } from '../convergence/history.js';
import { opIdOf } from '../convergence/oracle-decider.js';
import type { FoldedEnvelope } from './folded-message.js';

/** What devices noted of the texts that they edited, and what it takes to find it. */
export interface NotedTyping {
  readonly tables: readonly TableDefinition[];
  /** By `name/table/record`: a transaction types into a record once. */
  readonly typed: ReadonlyMap<string, TypedTokens>;
}

/** A text whose document the server does not share is edited by a plain difference, and brings no changes. */
const editsText = ({ crdt, set }: Operation, { fields }: TableDefinition): boolean =>
  crdt.length > 0 ||
  set.some(({ field }) => fields.find(({ id }) => id === field)?.type === 'text');

/** What each operation typed, by OpId of the oracle, out of what devices noted by the name of transactions. */
export const typedByOperation = (
  envelopes: readonly FoldedEnvelope[],
  { tables, typed }: NotedTyping,
): Map<string, TypedTokens> => {
  const tablesById = new Map(tables.map((table) => [table.id, table]));
  const found = new Map<string, TypedTokens>();
  for (const { replica, from, transactions } of envelopes) {
    let index = from;
    for (const { name, opCount, ops } of transactions) {
      ops.forEach((op, i) => {
        const table = tablesById.get(op.table);
        if (table === undefined || !editsText(op, table)) return;
        const tokens = typed.get(`${name}/${table.name}/${op.record}`);
        if (tokens !== undefined) found.set(opIdOf(replica, index + i), tokens);
      });
      index += opCount;
    }
  }
  return found;
};
