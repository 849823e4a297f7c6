import type { FieldId, Outcome } from '@tidemark/model';
import { invariant } from '@tidemark/model';
import { activeChain, isOwnOperation } from './clean-base.js';
import type { ChainField, ChainState, FieldDecision } from './decision.js';
import { decideCreate } from './decide-create.js';
import { decideDelete } from './decide-delete.js';
import { dropSides } from './decide-text.js';
import { decideUpdate } from './decide-update.js';
import { editTime } from './times.js';
import { indexAt, type Part, type Work } from './work.js';

const strength: Readonly<Record<Outcome, number>> = {
  same: 0,
  superseded: 1,
  applied: 2,
  combined: 3,
  rejected: 4,
  parked: 5,
};

/** Outcome of an operation from those of its fields: the strongest effect that any of them had. */
export const outcomeOf = (fields: readonly FieldDecision[]): Outcome => {
  let outcome: Outcome = 'same';
  for (const field of fields)
    if (strength[field.outcome] > strength[outcome]) outcome = field.outcome;
  return outcome;
};

/** Begins the decision of the operation at a position of the transaction. */
export const beginWork = (part: Part, position: number): Work => {
  const { context, transaction, draft } = part;
  const op = transaction.ops[position];
  const table = op === undefined ? undefined : context.schema.tablesById.get(op.table);
  invariant(op !== undefined && table !== undefined, 'only checked operations are decided');
  const chain = context.author.kind === 'device' ? draft.chain(op.table, op.record) : undefined;
  const index = indexAt(context.author, position);
  if (context.author.kind === 'device') dropSides(part, table, op);
  return {
    part,
    op,
    position,
    index,
    table,
    chain: activeChain(chain, op, index),
    time: editTime(context, transaction, op),
    fields: [],
    conflicts: [],
    ends: new Map(),
    recordEnd: null,
    met: null,
    trouble: null,
  };
};

/** Life that the chain is in, unless the author's base tells it. */
const lifeAfter = ({ met, op }: Work, earlier: ChainState | undefined): string | undefined => {
  const born = met ?? earlier?.life?.born;
  return born === op.base?.born ? undefined : born;
};

/**
 * Chain state after an operation: fields whose edit did not reach the server, each with the first value
 * before, and the life that the chain is in. Null when nothing is left to remember.
 */
export const chainAfter = (work: Work): ChainState | null => {
  const { chain, ends, recordEnd, op, index } = work;
  // A create that was applied begins a life of which all earlier operations are no part.
  const earlier = op.kind === 'create' && recordEnd === null ? undefined : chain;
  const fields: Record<FieldId, ChainField> = { ...earlier?.fields };
  for (const [field, { before, end }] of ends) {
    if (end === null) delete fields[field];
    else fields[field] = { before, end, index };
  }
  const record = recordEnd === null ? (earlier?.record ?? null) : { end: recordEnd, index };
  const born = lifeAfter(work, earlier);
  // Without a memory the author's own create tells the life.
  const isTold = born === undefined || isOwnOperation(work.part.context.author, born);
  if (record === null && isTold && Object.keys(fields).length === 0) return null;
  return { record, ...(born === undefined ? {} : { life: { born, index } }), fields };
};

/** Keeps the chain state of the record in the draft, and drops one that is over. */
export const rememberChain = (work: Work): void => {
  const { part, op } = work;
  if (part.context.author.kind !== 'device') return;
  const after = chainAfter(work);
  if (after === null && part.draft.chain(op.table, op.record) === undefined) return;
  part.draft.setChain(op.table, op.record, after);
};

/** Decides one operation on the draft of its part; trouble and conflicts are left in the work. */
export const decideOperation = (part: Part, position: number): Work => {
  const work = beginWork(part, position);
  switch (work.op.kind) {
    case 'create':
      decideCreate(work);
      break;
    case 'delete':
      decideDelete(work);
      break;
    case 'update':
      decideUpdate(work);
  }
  rememberChain(work);
  return work;
};
