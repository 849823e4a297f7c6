import type { Schema, Value } from '@tidemark/model';
import { TidemarkError } from '@tidemark/model';
import {
  decodeLedgerSegment,
  type LedgerEntry,
  type LedgerField,
  type LedgerOutcome,
} from '../fold/ledger-segment.js';
import type { AppliedStore } from './applied-store.js';
import { listLimit } from './list-limit.js';

/** Entries that one explanation gives at most. */
export const explainEntriesMax = 1_000;
const segmentBytesMax = 4 * 1024 * 1024;

/** One decision in the history of a value. `field` is empty for the record's existence. */
export interface Explanation {
  readonly version: { readonly incarnation: number; readonly n: number };
  /** OpId text of the operation. */
  readonly op: string;
  readonly user: string;
  readonly field: string;
  readonly base: Value;
  readonly theirs: Value;
  readonly ours: Value;
  readonly result: Value;
  readonly rule: string;
  readonly outcome: LedgerOutcome;
  readonly decider: string;
  /** Server time in ms. */
  readonly at: number;
}

/** What to explain: a record, or one of its fields. */
export interface ExplainRequest {
  readonly table: string;
  readonly id: string;
  readonly field?: string;
  /** Newest entries when there are more than this; at most `explainEntriesMax`. */
  readonly limit?: number;
}

const explainField = (
  entry: LedgerEntry,
  incarnation: number,
  name: string,
  field: LedgerField | undefined,
): Explanation => ({
  version: { incarnation, n: entry.n },
  op: entry.op,
  user: entry.user,
  field: name,
  base: field?.base ?? null,
  theirs: field?.theirs ?? null,
  ours: field?.ours ?? null,
  result: field?.result ?? null,
  rule: field?.rule ?? '',
  outcome: field?.outcome ?? entry.outcome,
  decider: entry.decider,
  at: entry.time,
});

/**
 * Reads the ledger of a record or field, oldest first. Rejects with `unknown-table`, `unknown-field`,
 * `invalid-option` for a limit that is none.
 *
 * It searches the table's segments of the ledger, and decodes those that name the record: cost follows the
 * ledger, memory the limit.
 */
export const explainValue = async (
  applied: AppliedStore,
  schema: Schema,
  request: ExplainRequest,
): Promise<readonly Explanation[]> => {
  const table = schema.tablesByName.get(request.table);
  if (table === undefined)
    throw new TidemarkError('unknown-table', `there is no table ${request.table}`);
  const wanted =
    request.field === undefined ? undefined : table.fieldsByName.get(request.field)?.id;
  if (request.field !== undefined && wanted === undefined)
    throw new TidemarkError('unknown-field', `${request.table} has no field ${request.field}`);
  const limit = listLimit(request.limit, explainEntriesMax);
  if (limit === 0) return [];
  let found: Explanation[] = [];
  const take = (entry: LedgerEntry, incarnation: number): void => {
    if (entry.fields.length === 0 && wanted === undefined)
      found.push(explainField(entry, incarnation, '', undefined));
    for (const field of entry.fields) {
      // Existence decides about every field.
      if (wanted !== undefined && field.field !== wanted && field.field !== 0) continue;
      const name = field.field === 0 ? '' : (table.fieldsById.get(field.field)?.name ?? '');
      found.push(explainField(entry, incarnation, name, field));
    }
  };
  const state = applied.applied();
  for (let incarnation = 1; incarnation <= state.incarnation; incarnation += 1) {
    let from: { readonly last: number; readonly table: number } | undefined;
    for (;;) {
      const segments = await applied.store.scanSegments('ledger', {
        incarnation,
        after: 0,
        upTo: state.n,
        maxBytes: segmentBytesMax,
        ...(from === undefined ? {} : { from }),
      });
      if (segments.length === 0) break;
      for (const segment of segments) {
        from = { last: segment.last, table: segment.table };
        if (segment.table !== table.id) continue;
        for (const entry of decodeLedgerSegment(segment.bytes).entriesOf(request.id))
          take(entry, incarnation);
        if (found.length > 2 * limit) found = found.slice(-limit);
      }
    }
  }
  return found.slice(-limit);
};
