import type {
  DeleteRule,
  FieldChange,
  Operation,
  ResolutionRule,
  TableDefinition,
  Value,
} from '@tidemark/model';
import {
  composeTransactions,
  foreignTransaction,
  type Decision,
  type ForeignRow,
} from '@tidemark/merge';
import type { FieldCrdt } from '@tidemark/ports';
import { MergeWorld, operation, outcomesOf, schemaOf, type Sending } from './merge-world.js';

const table = 1;
const parents = 2;
const [title, phone, note, count, parent] = [1, 2, 3, 4, 5];
const id = 'r1';
const tenant = 'acme';

const print = (value: Value | undefined): string =>
  typeof value === 'object' ? JSON.stringify(value) : String(value);

const tables = (rule: ResolutionRule, onDelete: DeleteRule): readonly TableDefinition[] => {
  const common = { rule, onDelete, indexes: [] };
  return [
    {
      ...common,
      id: table,
      name: 'visits',
      fields: [
        { id: title, name: 'title', type: 'string', maxLength: 10 },
        { id: phone, name: 'phone', type: 'string' },
        { id: note, name: 'note', type: 'text' },
        { id: count, name: 'count', type: 'counter' },
        { id: parent, name: 'parent', type: 'reference', table: 'parents' },
      ],
    },
    {
      ...common,
      id: parents,
      name: 'parents',
      fields: [{ id: 1, name: 'name', type: 'string', required: true }],
    },
  ];
};

/** One cell's world: a record known to all, another replica `other` that comes first, and ours, `author`. */
export class Cell {
  readonly rule: ResolutionRule;
  readonly world: MergeWorld;
  readonly crdt: FieldCrdt;
  #base = this.none();

  constructor(rule: ResolutionRule, onDelete: DeleteRule, crdt: FieldCrdt) {
    this.rule = rule;
    this.crdt = crdt;
    this.world = new MergeWorld(schemaOf(tables(rule, onDelete)), crdt);
  }

  private none(): ReturnType<MergeWorld['base']> {
    return null;
  }

  /** Begins with a record that every replica has seen. */
  seed(): this {
    const set = this.sets([title, null, 'A'], [phone, null, '1'], [note, null, 'hello']);
    const counted = [...set, { field: count, before: null, after: 10 }];
    this.world.send('server', [operation('create', { table, record: id, set: counted })], {
      kind: 'server',
    });
    this.#base = this.world.base(table, id);
    return this;
  }

  sets(...changes: readonly (readonly [number, FieldChange['before'], string])[]): FieldChange[] {
    return changes.map(([field, before, after]) => ({ field, before, after }));
  }

  op(kind: Operation['kind'], parts: Partial<Operation> = {}): Operation {
    const base = kind === 'create' ? null : this.#base;
    return operation(kind, { table, record: id, base, ...parts });
  }

  /** Update of the title; on device-wins-full tables with the author's whole row. */
  edit(before: string, after: string, prev = 0): Operation {
    const row =
      this.rule === 'device-wins-full'
        ? [
            { field: title, value: after },
            { field: phone, value: '1' },
          ]
        : null;
    return this.op('update', { prev, row, set: this.sets([title, before, after]) });
  }

  other(op: Operation, sending: Sending = {}): Decision {
    return this.world.send('other', [op], sending);
  }

  author(op: Operation, sending: Sending = {}): Decision {
    return this.world.send('author', [op], sending);
  }

  /** What the cell says: outcomes, then title and phone of the record, or another field. */
  say(decisions: readonly Decision[], field?: number): string {
    const fields = this.world.fields(table, id);
    const shown =
      fields === 'gone'
        ? 'gone'
        : field === undefined
          ? `${print(fields[title])} ${print(fields[phone])}`
          : print(fields[field]);
    return `${outcomesOf(...decisions).join(', ')}: ${shown}`;
  }

  typing(from: string, to: string, actor: number): Operation {
    const key = { tenant, table, record: id, field: note };
    const genesis = this.crdt.genesis(key, from);
    const { document } = this.crdt.editText(genesis, to, new Uint8Array(16).fill(actor), 0);
    return this.op('update', { crdt: [{ field: note, changes: this.crdt.changesOf(document) }] });
  }

  foreign(
    shadow: ForeignRow['fields'] | null,
    fields: ForeignRow['fields'],
    deleted = false,
  ): string {
    const row = { table, id, fields, deleted };
    const record = this.world.record(table, id);
    const transaction = foreignTransaction(this.world.schema, shadow, row, record);
    if (transaction === null) return this.say([]).replace(/^/, 'nothing');
    const decision = this.world.send('backend:erp', transaction.ops, {
      kind: 'backend',
      foreignModifiedOn: this.world.now + 1_500,
    });
    return this.say([decision]);
  }
}

const known = { [title]: 'A', [phone]: '1', [note]: 'hello', [count]: 10 };

/** Times after the record's first and before other's, equal to other's, and after it, ms. */
const times = { before: 11_500, other: 12_000, after: 12_500, last: 12_600 };

/** Rows that the resolution rule of the table decides: name and scenario. */
export const fieldRows: Readonly<Record<string, (cell: Cell) => string>> = {
  'update/update, same value': (c) => {
    c.seed().other(c.edit('A', 'X'), { at: times.other });
    return c.say([c.author(c.edit('A', 'X'), { at: times.after })]);
  },
  'update/update, same field': (c) => {
    c.seed().other(c.edit('A', 'X'), { at: times.other });
    return c.say([c.author(c.edit('A', 'B'), { at: times.after })]);
  },
  'update/update, same field, made earlier': (c) => {
    c.seed().other(c.edit('A', 'X'), { at: times.other });
    return c.say([c.author(c.edit('A', 'B'), { at: times.before })]);
  },
  'update/update, same field, equal times': (c) => {
    c.seed().other(c.edit('A', 'X'), { at: times.other });
    return c.say([c.author(c.edit('A', 'B'), { at: times.other })]);
  },
  'update/update, other field': (c) => {
    c.seed().other(c.op('update', { set: c.sets([phone, '1', '2']) }));
    return c.say([c.author(c.edit('A', 'B'))]);
  },
  'two pending edits over a server edit': (c) => {
    c.seed().other(c.edit('A', 'X'), { at: times.other });
    const first = c.author(c.edit('A', 'B'), { at: times.after });
    return c.say([first, c.author(c.edit('B', 'C', 1), { at: times.last })]);
  },
  'two pending edits, the first made earlier': (c) => {
    c.seed().other(c.edit('A', 'X'), { at: times.other });
    const first = c.author(c.edit('A', 'B'), { at: times.before });
    return c.say([first, c.author(c.edit('B', 'C', 1), { at: times.after })]);
  },
  'own A to B to A over the same edit': (c) => {
    c.seed().other(c.edit('A', 'B'), { at: times.other });
    const first = c.author(c.edit('A', 'B'), { at: times.after });
    return c.say([first, c.author(c.edit('B', 'A', 1), { at: times.last })]);
  },
  'foreign A to Z to A': (c) => {
    c.seed().other(c.edit('A', 'Z'));
    c.other(c.edit('Z', 'A', 1));
    return c.say([c.author(c.edit('A', 'B'))]);
  },
  'own chain without others': (c) => {
    c.seed();
    const first = c.author(c.edit('A', 'B'));
    return c.say([first, c.author(c.edit('B', 'C', 1))]);
  },
  'create/create, equal': (c) => {
    c.other(c.op('create', { set: c.sets([title, null, 'X'], [phone, null, '1']) }));
    return c.say([c.author(c.op('create', { set: c.sets([title, null, 'X']) }))]);
  },
  'create/create, different': (c) => {
    c.other(c.op('create', { set: c.sets([title, null, 'X'], [phone, null, '1']) }), { at: 9_000 });
    const set = c.sets([title, null, 'B'], [phone, null, '1']);
    return c.say([c.author(c.op('create', { set }), { at: 9_500 })]);
  },
  'create/create, then an update of the second': (c) => {
    c.other(c.op('create', { set: c.sets([title, null, 'X'], [phone, null, '1']) }), { at: 9_000 });
    const first = c.author(c.op('create', { set: c.sets([title, null, 'B']) }), { at: 9_500 });
    return c.say([first, c.author({ ...c.edit('B', 'C', 1), base: null }, { at: 9_600 })]);
  },
  'update of nothing': (c) => {
    const base = { incarnation: 1, n: 1, born: 'other/1/1', modifiedOn: 1 };
    return c.say([c.author({ ...c.edit('A', 'B'), base })]);
  },
  'delete of nothing': (c) => c.say([c.author(c.op('delete'))]),
  'child created under a deleted parent': (c) => {
    const made = { table: parents, record: 'p', set: c.sets([1, null, 'Acme']) };
    c.other(operation('create', made));
    c.other(operation('delete', { table: parents, record: 'p', base: c.world.base(parents, 'p') }));
    return c.say([
      c.author(
        c.op('create', {
          set: c.sets([title, null, 'B'], [phone, null, '1'], [parent, null, 'p']),
        }),
      ),
    ]);
  },
  'child created under a parked parent': (c) => {
    const first = c.author(operation('create', { table: parents, record: 'p' }));
    const child = c.op('create', { set: c.sets([title, null, 'B'], [parent, null, 'p']) });
    return c.say([first, c.author(child)]);
  },
  'correction of a rejected value': (c) => {
    c.seed();
    const [bad, good] = [
      c.edit('A', 'far too long a title'),
      c.edit('far too long a title', 'B', 1),
    ];
    const [first, second] = [c.author(bad), c.author(good)];
    const transaction = {
      schemaVersion: 1,
      hlc: { wallMs: 1, counter: 0 },
      atomicity: 'whole',
    } as const;
    const composed = composeTransactions([
      { transaction: { ...transaction, ops: [bad] }, firstIndex: 1 },
      { transaction: { ...transaction, ops: [good] }, firstIndex: 2 },
    ]);
    const third = c.world.send('author', composed?.transaction.ops ?? [], {
      firstIndex: 1,
      ...(composed === undefined ? {} : { indexes: composed.indexes }),
      resolution: { action: 'retry', by: 'author', choices: [] },
    });
    return c.say([first, second, third]);
  },
  increment: (c) => {
    c.seed().other(c.op('update', { inc: [{ field: count, by: 2 }] }));
    return c.say([c.author(c.op('update', { inc: [{ field: count, by: 3 }] }))], count);
  },
  'text, same base': (c) => {
    c.seed().other(c.typing('hello', 'hello other', 1));
    return c.say([c.author(c.typing('hello', 'author hello', 2))], note);
  },
  'text, different base': (c) => {
    c.seed().other(c.typing('hello', 'hello other', 1));
    return c.say([c.author(c.typing('hallo', 'author hallo', 2))], note);
  },
  'text, from no document': (c) => {
    c.seed().other(c.op('update', { set: c.sets([note, 'hello', 'hello other']) }));
    return c.say([c.author(c.typing('hello', 'author hello', 2))], note);
  },
  'plain write to a text field': (c) => {
    c.seed().other(c.typing('hello', 'hello other', 1));
    const set = c.sets([note, 'hello', 'author hello']);
    return c.say([c.author(c.op('update', { set }))], note);
  },
  'foreign row with shadow, other field': (c) => {
    c.seed().other(c.op('update', { set: c.sets([phone, '1', '2']) }));
    return c.foreign(known, { ...known, [title]: 'F' });
  },
  'foreign row with shadow, same field': (c) => {
    c.seed().other(c.edit('A', 'X'));
    return c.foreign(known, { ...known, [title]: 'F' });
  },
  'foreign row without shadow': (c) => {
    c.seed();
    return c.foreign(null, { ...known, [title]: 'F' });
  },
  'foreign row, echo': (c) => {
    c.seed().other(c.edit('A', 'X'));
    return c.foreign(known, known);
  },
};

/** Rows that the delete rule of the table decides; its resolution rule is server-wins. */
export const deleteRows: Readonly<Record<string, (cell: Cell) => string>> = {
  'update/delete': (c) => {
    c.seed().other(c.op('delete'));
    return c.say([c.author(c.edit('A', 'B'))]);
  },
  'update/delete and made again': (c) => {
    c.seed().other(c.op('delete'));
    c.other(c.op('create', { set: c.sets([title, null, 'Z'], [phone, null, '9']) }));
    return c.say([c.author(c.edit('A', 'B'))]);
  },
  'increment/delete': (c) => {
    c.seed().other(c.op('delete'));
    return c.say([c.author(c.op('update', { inc: [{ field: count, by: 1 }] }))], count);
  },
  'delete/update': (c) => {
    c.seed().other(c.edit('A', 'X'));
    return c.say([c.author(c.op('delete'))]);
  },
  'delete/delete': (c) => {
    c.seed().other(c.op('delete'));
    return c.say([c.author(c.op('delete'))]);
  },
  'delete/delete and made again': (c) => {
    c.seed().other(c.op('delete'));
    c.other(c.op('create', { set: c.sets([title, null, 'Z'], [phone, null, '9']) }));
    return c.say([c.author(c.op('delete'))]);
  },
  'delete of an untouched record': (c) => c.say([c.seed().author(c.op('delete'))]),
  'own update, then delete': (c) => {
    const first = c.seed().author(c.edit('A', 'B'));
    return c.say([first, c.author(c.op('delete', { prev: 1 }))]);
  },
  'delete, then recreate': (c) => {
    const first = c.seed().author(c.op('delete'));
    const set = c.sets([title, null, 'N'], [phone, null, '1']);
    const second = c.author(c.op('create', { prev: 1, set }));
    return c.say([first, second, c.author(c.edit('N', 'M', 1))]);
  },
  'delete, then recreate, over a server edit': (c) => {
    c.seed().other(c.edit('A', 'X'));
    const first = c.author(c.op('delete'));
    const set = c.sets([title, null, 'N'], [phone, null, '1']);
    return c.say([first, c.author(c.op('create', { prev: 1, set }))]);
  },
  'foreign delete, unchanged here': (c) => {
    c.seed();
    return c.foreign(known, known, true);
  },
  'foreign delete, changed here': (c) => {
    c.seed().other(c.edit('A', 'X'));
    return c.foreign(known, known, true);
  },
  'foreign row with shadow, deleted here': (c) => {
    c.seed().other(c.op('delete'));
    return c.foreign(known, { ...known, [title]: 'F' });
  },
};
