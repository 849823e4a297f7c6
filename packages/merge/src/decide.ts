import {
  checkOperation,
  checkValue,
  type Operation,
  type SchemaTable,
  type ResolutionChoice,
  type SyncErrorConflict,
  type SyncErrorKind,
  type Transaction,
} from '@tidemark/model';
import type { Decision, MergeContext, MergeReader, OperationDecision, Park } from './decision.js';
import { beginWork, chainAfter, decideOperation, outcomeOf } from './decide-operation.js';
import { recordExistence } from './decide-existence.js';
import { noteAllSuperseded } from './decide-parts.js';
import { keepSides } from './decide-text.js';
import { Draft, recordKey } from './draft.js';
import { indexAt, opIdAt, type Part, type Work } from './work.js';

interface Refused {
  readonly kind: SyncErrorKind;
  readonly message: string;
  /** Position of the operation at fault. */
  readonly position: number;
  readonly conflicts: readonly SyncErrorConflict[];
  /** Root on which the part waits, when it is not at fault itself. */
  readonly root: string | null;
}

interface Decided {
  readonly part: Part;
  readonly works: readonly Work[];
  readonly refused: Refused | null;
}

/** Positions of a transaction's operations, in the parts that are decided whole. */
const partsOf = (transaction: Transaction, context: MergeContext): number[][] => {
  const all = transaction.ops.map((_, position) => position);
  const apart = transaction.atomicity === 'per-record' || context.resolution?.action === 'split';
  if (!apart || context.refusal !== null) return [all];
  const groups = new Map<string, number[]>();
  transaction.ops.forEach((op, position) => {
    const key = recordKey(op.table, op.record);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [position]);
    else group.push(position);
  });
  return [...groups.values()];
};

/** Checks the whole row of an operation, which `checkOperation` leaves alone. */
const checkRow = (table: SchemaTable, op: Operation): string | undefined => {
  for (const { field: id, value } of op.row ?? []) {
    const field = table.fieldsById.get(id);
    if (field === undefined) return `${table.name} has no field ${id}`;
    const plain = field.type !== 'counter' && field.type !== 'text';
    const problem = plain ? checkValue(table, field, value) : undefined;
    if (problem !== undefined) return problem.message;
  }
  return undefined;
};

/** What is wrong with an operation itself, whatever the server holds. */
const problemOf = (context: MergeContext, op: Operation): string | undefined => {
  const problem = checkOperation(context.schema, op);
  if (problem !== undefined) return problem.message;
  const table = context.schema.tablesById.get(op.table);
  return table === undefined ? undefined : checkRow(table, op);
};

const refuseInvalid = (part: Part): Refused | null => {
  const { context, transaction, positions } = part;
  const refuse = (kind: SyncErrorKind, message: string, position: number): Refused => ({
    kind,
    message,
    position,
    conflicts: [],
    root: null,
  });
  const first = positions[0] ?? 0;
  if (transaction.schemaVersion > context.schema.customization.version)
    return refuse('invalid', `no schema version ${transaction.schemaVersion} here`, first);
  for (const position of positions) {
    const op = transaction.ops[position];
    const problem = op === undefined ? undefined : problemOf(context, op);
    if (problem !== undefined) return refuse('invalid', problem, position);
  }
  return context.refusal === null ? null : refuse('rejected', context.refusal, first);
};

/** Tables and ids of the records that an operation newly refers to. */
const referencesOf = (context: MergeContext, op: Operation): (readonly [number, string])[] => {
  const table = context.schema.tablesById.get(op.table);
  const out: (readonly [number, string])[] = [];
  for (const { field: id, after } of op.set) {
    const field = table?.fieldsById.get(id);
    if (field?.type !== 'reference' || typeof after !== 'string') continue;
    const target = context.schema.tablesByName.get(field.table ?? '');
    if (target !== undefined) out.push([target.id, after]);
  }
  return out;
};

/** Root under which an operation's predecessor, or the create of a record it names, is parked. */
const refuseDependent = (part: Part, reader: MergeReader): Refused | null => {
  const { context, transaction, positions } = part;
  if (context.resolution !== null || context.author.kind !== 'device') return null;
  for (const position of positions) {
    const op = transaction.ops[position];
    if (op === undefined) continue;
    const wait = (root: string, kind: SyncErrorKind): Refused => ({
      kind,
      message: `waits for ${root}`,
      position,
      conflicts: [],
      root,
    });
    const index = indexAt(context.author, position);
    const before = op.prev > 0 ? reader.parkedUnder(index - op.prev) : undefined;
    if (before !== undefined) return wait(before, 'conflict');
    for (const [table, id] of referencesOf(context, op)) {
      const root = reader.parkedCreate(table, id);
      if (root !== undefined) return wait(root, 'missing-reference');
    }
  }
  return null;
};

const choicesOf = ({ resolution }: MergeContext): ReadonlyMap<string, ResolutionChoice> =>
  new Map(
    resolution?.action === 'merge'
      ? resolution.choices.map((one) => [`${recordKey(one.table, one.record)}/${one.field}`, one])
      : [],
  );

/** Takes the server's side for every operation of the part. */
const takeServer = (part: Part): Work[] =>
  part.positions.flatMap((position) => {
    const op = part.transaction.ops[position];
    if (op === undefined || !part.context.schema.tablesById.has(op.table)) return [];
    const work = beginWork(part, position);
    const record = part.draft.record(op.table, op.record);
    const alive = record !== undefined && !record.deleted;
    noteAllSuperseded(work);
    keepSides(work, record);
    // Of an increment or an edit of a document no field remembers that it did not reach the server.
    const byFields = op.kind === 'update' && op.inc.length === 0 && op.crdt.length === 0;
    if (!byFields) work.recordEnd = 'superseded';
    recordExistence(work, alive, op.kind !== 'delete', alive, 'resolution', 'superseded');
    if (part.context.author.kind === 'device')
      part.draft.setChain(op.table, op.record, chainAfter(work));
    return [work];
  });

const decidePart = (part: Part, reader: MergeReader): Decided => {
  if (part.context.resolution?.action === 'take-server')
    return { part, works: takeServer(part), refused: null };
  const refused = refuseInvalid(part) ?? refuseDependent(part, reader);
  if (refused !== null) return { part, works: [], refused };
  const works = part.positions.map((position) => decideOperation(part, position));
  const first = works.find(({ trouble }) => trouble !== null);
  if (first === undefined || first.trouble === null) return { part, works, refused: null };
  const conflicts = works.flatMap((work) => work.conflicts);
  const { trouble, position } = first;
  return { part, works, refused: { ...trouble, position, conflicts, root: null } };
};

const rootOf = (part: Part): string => {
  const { author } = part.context;
  return opIdAt(author, part.positions[0] ?? 0);
};

const parkOf = ({ part, refused }: Decided): Park | undefined => {
  if (refused === null) return undefined;
  const { author } = part.context;
  const { ops } = part.transaction;
  const op = ops[refused.position];
  const indexes = part.positions.map((position) => indexAt(author, position));
  const all = ops.map((_, position) => indexAt(author, position));
  return {
    root: refused.root ?? rootOf(part),
    dependent: refused.root !== null,
    kind: refused.kind,
    message: refused.message,
    table: op?.table ?? 0,
    record: op?.record ?? '',
    conflicts: refused.conflicts,
    range: { epoch: author.epoch, from: all[0] ?? 0, to: all[all.length - 1] ?? 0 },
    ops: indexes,
  };
};

const verdictsOf = ({ part, works, refused }: Decided): OperationDecision[] => {
  const outcome =
    refused?.kind === 'rejected' || refused?.kind === 'poison' ? 'rejected' : 'parked';
  const byPosition = new Map(works.map((work) => [work.position, work]));
  return part.positions.map((position) => {
    const op = part.transaction.ops[position];
    const work = byPosition.get(position);
    const fields = work?.fields ?? [];
    return {
      index: indexAt(part.context.author, position),
      table: op?.table ?? 0,
      record: op?.record ?? '',
      outcome: refused === null ? outcomeOf(fields) : outcome,
      // Nothing of a parked part was written: only what was in conflict is worth telling.
      fields: refused === null ? fields : fields.filter((one) => one.outcome === 'parked'),
    };
  });
};

/** Parks the parts that refer to a record whose create another part of the transaction parks. */
const parkReferring = (decided: Decided[], context: MergeContext): void => {
  const created = new Map<string, string>();
  const note = ({ part, refused }: Decided): boolean => {
    if (refused === null) return false;
    const before = created.size;
    for (const position of part.positions) {
      const op = part.transaction.ops[position];
      if (op?.kind === 'create')
        created.set(recordKey(op.table, op.record), refused.root ?? rootOf(part));
    }
    return created.size > before;
  };
  const waitsFor = (
    { part }: Decided,
    own: string,
  ): (Refused & { readonly root: string }) | undefined => {
    for (const position of part.positions) {
      const op = part.transaction.ops[position];
      for (const [table, id] of op === undefined ? [] : referencesOf(context, op)) {
        const root = created.get(recordKey(table, id));
        if (root === undefined || root === own) continue;
        const message = `waits for ${root}`;
        return { kind: 'missing-reference', message, position, conflicts: [], root };
      }
    }
    return undefined;
  };
  /** What waits under a part that comes to wait itself waits with it. */
  const move = (from: string, root: string): void => {
    for (const [key, one] of created) if (one === from) created.set(key, root);
    decided.forEach(({ part, works, refused }, i) => {
      if (refused?.root !== from) return;
      decided[i] = { part, works, refused: { ...refused, message: `waits for ${root}`, root } };
    });
  };
  let grown = decided.map(note).includes(true);
  // Each round parks at least one more part, so there are at most as many rounds as parts.
  while (grown) {
    grown = false;
    decided.forEach((one, i) => {
      // Who waits already, under an earlier transaction or a part of this one, stays where it is.
      if (typeof one.refused?.root === 'string') return;
      const own = rootOf(one.part);
      const refused = waitsFor(one, own);
      if (refused === undefined) return;
      // Also where it is in conflict itself: that is decided once the other one is.
      if (one.refused !== null) move(own, refused.root);
      const parked = { part: one.part, works: [], refused };
      decided[i] = parked;
      grown = note(parked) || grown;
    });
  }
};

/**
 * Decides a transaction against the records that the reader gives. Pure and total: the same arguments
 * give the same decision, and no transaction that decodes makes it throw.
 *
 * Operations are decided in order, later ones on what earlier ones write. A part that any operation
 * parks writes nothing; parts are the whole transaction, or its records where they are decided apart.
 */
export const decide = (
  reader: MergeReader,
  transaction: Transaction,
  context: MergeContext,
): Decision => {
  const choices = choicesOf(context);
  const decided = partsOf(transaction, context).map((positions) => {
    const draft = new Draft(reader);
    const crdtDone = new Set<string>();
    return decidePart({ context, transaction, draft, choices, crdtDone, positions }, reader);
  });
  if (decided.length > 1) parkReferring(decided, context);
  const untroubled = decided.filter(({ refused }) => refused === null);
  const operations = decided.flatMap(verdictsOf);
  const parks = decided.flatMap((one) => parkOf(one) ?? []);
  return {
    operations: operations.sort((a, b) => a.index - b.index),
    writes: untroubled.flatMap(({ part }) => part.draft.writes()),
    // Roots first: a part may wait under one that comes later in the transaction.
    parks: [...parks.filter((one) => !one.dependent), ...parks.filter((one) => one.dependent)],
    chains: untroubled.flatMap(({ part }) => part.draft.chains()),
    sides: untroubled.flatMap(({ part }) => part.draft.sides()),
  };
};
