import { parseOpId, type FieldId, type Operation } from '@tidemark/model';
import type { Author, ChainField, ChainState, MergeRecord } from './decision.js';

/** Stands in a chain for the life that the author's own create began, once it met another one. */
export const lostLife = '';

/** Tells whether an OpId text names an operation of the author, or of the log that it continued. */
export const isOwnOperation = (author: Author, opId: string): boolean => {
  if (opId.startsWith(`${author.replica}/`)) return true;
  if (author.origin === null) return false;
  const op = parseOpId(opId);
  return (
    op !== undefined &&
    author.origin.some(
      ({ replica, epoch, from, to }) =>
        op.replica === replica && op.epoch === epoch && op.index > from && op.index <= to,
    )
  );
};

/**
 * Tells whether a record lives by the author's own create that its base does not include: the operation
 * then belongs to this life although its base is of none, or of an earlier one.
 */
export const isOwnBirth = (record: MergeRecord, op: Operation, author: Author): boolean =>
  op.prev > 0 && isOwnOperation(author, record.row.born);

/**
 * Tells whether the operation was made on another life of the record than the server has. A chain goes on
 * in the life that it met, whatever the base is of; without base and chain, the author's own create began
 * the life.
 */
export const isOtherLife = (
  record: MergeRecord,
  op: Operation,
  author: Author,
  chain: ChainState | undefined,
): boolean => {
  if (isOwnBirth(record, op, author)) return false;
  // Of a chain that lost its record only the own create is known; a base tells more.
  const met = chain?.life?.born;
  const isLost = chain === undefined || met === lostLife;
  const born = isLost ? op.base?.born : (met ?? op.base?.born);
  return born === undefined ? op.prev > 0 && isLost : born !== record.row.born;
};

/** Tells whether a predecessor fared worse than applied. */
const isBroken = ({ record, fields }: ChainState): boolean => {
  if (record !== null) return true;
  for (const id in fields) if (fields[id] !== undefined) return true;
  return false;
};

/**
 * Tells whether nobody but the author changed the record since the base of the operation, and every
 * operation of the author in between was applied.
 */
export const isClean = (
  record: MergeRecord,
  op: Operation,
  author: Author,
  chain: ChainState | undefined,
): boolean => {
  if (author.kind === 'server') return true;
  const { version, born } = record.row;
  const { base } = op;
  if (base?.born === born && base.incarnation === version.incarnation && base.n === version.n)
    return true;
  if (chain !== undefined && isBroken(chain)) return false;
  if (op.base === null || op.base.born !== born)
    return (
      isOwnBirth(record, op, author) &&
      record.chainFrom === 0 &&
      isOwnOperation(author, record.lastOp)
    );
  if (op.base.incarnation !== version.incarnation) return false;
  return (
    op.base.n >= record.chainFrom && op.base.n < version.n && isOwnOperation(author, record.lastOp)
  );
};

/**
 * What of a chain still bears on an operation at an index: the parts about operations that its base does
 * not include. Undefined when that is nothing.
 */
export const activeChain = (
  chain: ChainState | undefined,
  op: Operation,
  index: number,
): ChainState | undefined => {
  if (chain === undefined || op.prev === 0) return undefined;
  const oldest = index - op.since;
  const fields: Record<FieldId, ChainField> = {};
  for (const id in chain.fields) {
    const field = chain.fields[id];
    if (field !== undefined && field.index >= oldest) fields[id] = field;
  }
  const record = (chain.record?.index ?? 0) < oldest ? null : chain.record;
  const life = (chain.life?.index ?? 0) < oldest ? undefined : chain.life;
  const active = { record, ...(life === undefined ? {} : { life }), fields };
  return life === undefined && !isBroken(active) ? undefined : active;
};
