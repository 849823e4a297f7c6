import type { Operation, ResolutionChoice, RowFields, SchemaTable, Value } from '@tidemark/model';

/** What an operation, or one field of it, came to; `combined` counts as applied. Strongest first. */
const outcomes = ['parked', 'applied', 'superseded', 'same'] as const;
export type OracleOutcome = (typeof outcomes)[number];

/** Version of a record. A tombstone keeps the last row. */
interface OracleRecord {
  readonly n: number;
  readonly by: string;
  readonly modifiedOn: number;
  readonly deleted: boolean;
  /** Who began this life of the record, and when: no two are the same object. Null: there never was one. */
  readonly life: { readonly by: string; readonly n: number } | null;
  readonly fields: ReadonlyMap<number, { readonly value: Value; readonly editedAt: number }>;
  /** OpIds of what changed it in this life. Of its texts no more is held: they have what those typed. */
  readonly ops: readonly string[];
}

const nothing: OracleRecord = {
  ...{ n: 0, by: '', modifiedOn: 0, deleted: true, life: null },
  ...{ fields: new Map(), ops: [] },
};

/** Where a record is. */
export type Place = Pick<Operation, 'table' | 'record'>;

/** Operation as it arrived, under its OpId, with its author's corrected time (ms). */
export interface Sent extends Operation {
  readonly id: string;
  readonly author: string;
  readonly index: number;
  readonly time: number;
}

/** Operations that are decided together, in order. */
export type Part = readonly Sent[];

interface Verdict {
  readonly sent: Sent;
  readonly outcome: OracleOutcome;
  readonly fields: ReadonlyMap<number, OracleOutcome>;
  /** Life of the record that the author meant, as of this operation. */
  readonly life: OracleRecord['life'];
  /** Of a create: whether it began that life, or met a record that lived. */
  readonly create?: 'began' | 'met' | undefined;
}

type Rule = (ours: number, theirs: number, earlier: OracleOutcome) => OracleOutcome;

/** What becomes of a conflict, by the times of both edits and how the author's edit before this one fared. */
const ofConflict: Readonly<Record<SchemaTable['rule'], Rule>> = {
  'server-wins': () => 'superseded',
  'device-wins': () => 'applied',
  'device-wins-full': () => 'applied',
  manual: () => 'parked',
  'latest-wins': (ours, theirs, earlier) => {
    if (earlier === 'superseded' || ours < theirs) return 'superseded';
    return ours === theirs ? 'parked' : 'applied';
  },
};

/** What becomes of a delete that meets an edit, and of an edit that meets a delete. */
const ofExistence = {
  delete: { 'edit-wins': 'superseded', 'delete-wins': 'applied', manual: 'parked' },
  update: { 'edit-wins': 'applied', 'delete-wins': 'superseded', manual: 'parked' },
} as const;

/** Decides operations as the design says, with all versions of records and all verdicts at hand. */
export class OracleDecider {
  /** Versions of each record by `table/record`, oldest first. */
  readonly records = new Map<string, readonly OracleRecord[]>();
  /** By OpId text. */
  readonly verdicts = new Map<string, Verdict>();
  tables: ReadonlyMap<number, SchemaTable> = new Map();
  n = 0;
  now = 0;

  versions(at: Place): readonly OracleRecord[] {
    return this.records.get(placeOf(at)) ?? [];
  }

  /** What is there of a record now. */
  record(at: Place): OracleRecord {
    return this.versions(at).at(-1) ?? nothing;
  }

  isText(table: number, field: number): boolean {
    return this.tables.get(table)?.fieldsById.get(field)?.type === 'text';
  }

  /** What values change of others; without those, of what a living record holds. */
  differences(at: Place, to: RowFields, from?: RowFields): Operation['set'] {
    const { deleted, fields } = this.record(at);
    return Object.entries(to).flatMap(([id, after]) => {
      const field = Number(id);
      const held = deleted ? undefined : fields.get(field)?.value;
      const before = (from === undefined ? held : from[field]) ?? null;
      return same(before, after) ? [] : [{ field, before, after }];
    });
  }

  /** Notes that a part waits. */
  park(part: Part): void {
    for (const sent of part) this.verdicts.set(sent.id, this.#whole(sent, 'parked'));
  }

  /** Decides a part: all of it, or nothing of it, and it parks. */
  decide(part: Part, choices: readonly ResolutionChoice[] = []): boolean {
    const before = part.map((one) => [placeOf(one), this.versions(one)] as const);
    for (const sent of part) this.verdicts.set(sent.id, this.#decideOp(sent, choices));
    if (part.every(({ id }) => this.verdicts.get(id)?.outcome !== 'parked')) return true;
    for (const [place, versions] of before) this.records.set(place, versions);
    this.park(part);
    return false;
  }

  /** Verdict that is the same for all of an operation. */
  #whole(sent: Sent, outcome: OracleOutcome): Verdict {
    const fields = new Map(sent.set.map(({ field }) => [field, outcome]));
    return { sent, outcome, fields, life: this.#lifeMeant(sent) };
  }

  /** Verdicts on what its author had not seen decided of its own earlier operations there, newest first. */
  #chain(sent: Sent): readonly Verdict[] {
    const chain: Verdict[] = [];
    for (let at = sent.index - 1; at >= sent.index - sent.since; at -= 1) {
      const verdict = this.verdicts.get(opIdOf(sent.author, at));
      if (verdict === undefined || placeOf(verdict.sent) !== placeOf(sent)) continue;
      chain.push(verdict);
      // A create that began a life has nothing of the earlier ones behind it.
      if (verdict.create === 'began') break;
    }
    return chain;
  }

  /** The record lives by a create of the author that the operation's base does not include. */
  #isOwnLife(sent: Sent): boolean {
    const { life } = this.record(sent);
    return sent.prev > 0 && life?.by === sent.author && life.n > (sent.base?.n ?? 0);
  }

  /** Life that the author meant: that which its own create began or met, else that of its base. */
  #lifeMeant(sent: Sent): OracleRecord['life'] {
    const { base, author } = sent;
    const { life } = this.record(sent);
    const chain = this.#chain(sent);
    const own = chain.find(({ create }) => create !== undefined);
    if (own !== undefined) return own.life;
    // A backend knows of no lives: its row is whatever record has that id.
    if (this.#isOwnLife(sent) || author.startsWith('backend:')) return life;
    // Without a base it is what the operation before meant, and what is there for the first one.
    if (base === null) return chain[0]?.life ?? life;
    return (
      this.versions(sent)
        .filter(({ n }) => n <= base.n)
        .at(-1)?.life ?? null
    );
  }

  /** Nobody but the author changed the record since its base, and all its predecessors were applied. */
  #isClean(sent: Sent): boolean {
    const { base, author } = sent;
    const { n, life } = this.record(sent);
    if (base?.n === n) return true;
    const newest = new Map<number, OracleOutcome>();
    for (const { sent: earlier, outcome, fields, create } of [...this.#chain(sent)].reverse()) {
      // Of edits of plain fields the newest count: they make up for those before.
      const { table, set, inc, crdt } = earlier;
      const isTyped = crdt.length > 0 || set.some(({ field }) => this.isText(table, field));
      const isMadeUp = set.length > 0 && inc.length === 0 && !isTyped;
      if (create === 'met' || (outcome !== 'applied' && !isMadeUp)) return false;
      for (const [field, one] of fields) newest.set(field, one);
    }
    if ([...newest.values()].some((one) => one !== 'applied')) return false;
    const isOfLife = base === null || this.#isOwnLife(sent);
    return this.versions(sent).every(
      (one) => one.by === author || (isOfLife ? one.life !== life : one.n <= base.n),
    );
  }

  /** Decides an operation, and changes the record. */
  #decideOp(sent: Sent, choices: readonly ResolutionChoice[]): Verdict {
    const { author: by, time, kind } = sent;
    const table = this.tables.get(sent.table);
    if (table === undefined) return this.#whole(sent, 'parked');
    // Of several choices for a field (0: for the record's existence) the last counts.
    const choiceOf = (field: number): ResolutionChoice | undefined =>
      choices.filter((one) => placeOf(one) === placeOf(sent) && one.field === field).at(-1);
    const existence = this.#existence(sent, table, choiceOf(0));
    if (existence !== 'applied') return this.#whole(sent, existence);
    const found = this.record(sent);
    const deleted = kind === 'delete';
    const isBegun = kind === 'create' && found.deleted;
    // What begins a life has nothing of the one before.
    const held = isBegun ? nothing : found;
    const life = isBegun ? { by, n: this.n } : found.life;
    const state = new Map(held.fields);
    const fields = new Map<number, OracleOutcome>();
    for (const change of sent.set) {
      const [outcome, value] = this.#decideField(sent, table, held, change, choiceOf(change.field));
      fields.set(change.field, outcome);
      const earlier = held.fields.get(change.field)?.editedAt ?? 0;
      const least = outcome === 'same' || same(change.before, value) ? earlier : earlier + 1;
      if (value !== undefined) state.set(change.field, { value, editedAt: Math.max(time, least) });
    }
    const isFull = table.rule === 'device-wins-full' && sent.row !== null && !this.#isClean(sent);
    const row = (isFull ? sent.row : []).filter(({ field, value }) => {
      const { type, rule } = table.fieldsById.get(field) ?? { type: 'text' };
      const isOfRow = type !== 'counter' && type !== 'text' && rule === undefined;
      return isOfRow && !same(state.get(field)?.value, value);
    });
    for (const { field, value } of row) state.set(field, { value, editedAt: time });
    for (const { field, by: more } of sent.inc)
      state.set(field, { value: Number(state.get(field)?.value ?? 0) + more, editedAt: time });
    const effects = [...fields.values()];
    if (deleted !== found.deleted || row.length + sent.inc.length + sent.crdt.length > 0)
      effects.push('applied');
    const isOther = [...state].some(([field, one]) => one !== found.fields.get(field));
    if (isOther || effects.includes('applied')) {
      const modifiedOn = Math.max(this.now, found.modifiedOn + 1);
      const ops = [...held.ops, sent.id];
      const made = { n: this.n, by, modifiedOn, deleted, life, fields: state, ops };
      this.records.set(placeOf(sent), [...this.versions(sent), made]);
    }
    const outcome = outcomes.find((one) => effects.includes(one)) ?? 'same';
    const create = kind !== 'create' ? undefined : isBegun ? 'began' : 'met';
    return { sent, outcome, fields, life, create };
  }

  /** Whether there is a record for an operation to change: `applied` if so. */
  #existence(sent: Sent, table: SchemaTable, choice?: ResolutionChoice): OracleOutcome {
    if (choice?.pick === 'theirs') return 'superseded';
    if (sent.kind === 'create') return 'applied';
    const { life, deleted } = this.record(sent);
    const isMeant = life !== null && life === this.#lifeMeant(sent);
    const isThere = isMeant && !deleted;
    if (sent.kind === 'delete' && !isThere) return 'same';
    const isUndisputed = isThere && (sent.kind === 'update' || this.#isClean(sent));
    if (isUndisputed || (isMeant && choice?.pick === 'mine')) return 'applied';
    const outcome = ofExistence[sent.kind][table.onDelete];
    // Another life is not what the author meant to change, and cannot be brought back.
    return isMeant || (life !== null && outcome === 'superseded') ? outcome : 'parked';
  }

  /** What becomes of an edit of a field, and the value to write, if there is any. */
  #decideField(
    sent: Sent,
    table: SchemaTable,
    held: OracleRecord,
    { field, before, after }: Operation['set'][number],
    choice: ResolutionChoice | undefined,
  ): readonly [OracleOutcome, Value?] {
    const definition = table.fieldsById.get(field);
    if (definition === undefined) return ['parked'];
    if (definition.type === 'text') return ['applied'];
    if (held.life === null) return ['applied', after];
    if (choice?.pick === 'theirs') return ['superseded'];
    if (choice?.pick === 'value') return ['applied', choice.value ?? null];
    if (choice?.pick === 'mine') return ['applied', after];
    const rule = definition.rule ?? table.rule;
    const theirs = held.fields.get(field);
    if (same(theirs?.value, after)) {
      // Of two equal edits the later time counts.
      const isLater = rule === 'latest-wins' && sent.time > (theirs?.editedAt ?? 0);
      return isLater ? ['same', after] : ['same'];
    }
    const last = this.#chain(sent).find(({ fields }) => fields.has(field));
    const earlier = last?.fields.get(field) ?? 'applied';
    if (same(theirs?.value, before) && earlier === 'applied') return ['applied', after];
    const outcome = ofConflict[rule](sent.time, theirs?.editedAt ?? held.modifiedOn, earlier);
    return outcome === 'applied' ? [outcome, after] : [outcome];
  }
}

export const opIdOf = (author: string, index: number): string => `${author}/1/${index}`;

export const placeOf = ({ table, record }: Place): string => `${table}/${record}`;

const same = (a: Value | undefined, b: Value | undefined): boolean => (a ?? null) === (b ?? null);
