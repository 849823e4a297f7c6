import { createHash } from 'node:crypto';
import {
  baseOfRow,
  indexSchema,
  systemTables,
  type BaseVersion,
  type Operation,
  type Outcome,
  type RowFields,
  type Schema,
  type TableDefinition,
  type Transaction,
} from '@tidemark/model';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import {
  decide,
  type ChainState,
  type Decision,
  type MergeContext,
  type MergeReader,
  type MergeRecord,
  type Park,
} from '@tidemark/merge';
import type { FieldCrdt } from '@tidemark/ports';

/** SHA-256 of the platform. */
export const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

/** Automerge, as the engines get it. */
export const openCrdt = (): Promise<FieldCrdt> => loadAutomergeCrdt({ hash: sha256 });

/** Operation with everything but its target left empty. */
export const operation = (
  kind: Operation['kind'],
  parts: Partial<Operation> & Pick<Operation, 'table' | 'record'>,
): Operation => ({
  kind,
  base: null,
  prev: 0,
  since: parts.prev ?? 0,
  seen: 0,
  set: [],
  inc: [],
  crdt: [],
  row: null,
  ...parts,
});

/** Who sends, when by its clock, and what else decides. */
export interface Sending {
  readonly kind?: 'device' | 'server' | 'backend';
  readonly at?: number;
  readonly atomicity?: Transaction['atomicity'];
  readonly firstIndex?: number;
  readonly indexes?: readonly number[];
  readonly refusal?: string;
  readonly foreignModifiedOn?: number;
  readonly resolution?: MergeContext['resolution'];
  readonly schemaVersion?: number;
}

/** Schema of test tables. */
export const schemaOf = (tables: readonly TableDefinition[]): Schema =>
  indexSchema({ format: 1, version: 1, tables }, systemTables);

/**
 * The least that a server is: records, chains and side documents in maps, decisions applied one by one.
 * Only the state is kept here; every verdict comes from decide.
 */
export class MergeWorld {
  readonly schema: Schema;
  readonly crdt: FieldCrdt;
  readonly records = new Map<string, MergeRecord>();
  readonly parks: Park[] = [];
  now = 10_000;
  n = 0;
  readonly #chains = new Map<string, ChainState>();
  readonly #sides = new Map<string, Uint8Array>();
  readonly #indexes = new Map<string, number>();
  readonly #parkedOps = new Map<string, string>();
  readonly #parkedCreates = new Map<string, string>();

  constructor(schema: Schema, crdt: FieldCrdt) {
    this.schema = schema;
    this.crdt = crdt;
  }

  record(table: number, id: string): MergeRecord | undefined {
    return this.records.get(`${table}/${id}`);
  }

  base(table: number, id: string): BaseVersion | null {
    const record = this.record(table, id);
    return record === undefined ? null : baseOfRow(record.row);
  }

  fields(table: number, id: string): RowFields | 'gone' {
    const record = this.record(table, id);
    return record === undefined || record.deleted ? 'gone' : record.row.fields;
  }

  reader(replica: string): MergeReader {
    return {
      record: (table, id) => this.records.get(`${table}/${id}`),
      chain: (table, id) => this.#chains.get(`${replica}/${table}/${id}`),
      side: (table, id, field) => this.#sides.get(`${replica}/${table}/${id}/${field}`),
      parkedUnder: (index) => this.#parkedOps.get(`${replica}/${index}`),
      parkedCreate: (table, id) => this.#parkedCreates.get(`${replica}/${table}/${id}`),
    };
  }

  /** Decides a transaction of a replica and applies what was decided. */
  send(replica: string, ops: readonly Operation[], sending: Sending = {}): Decision {
    const firstIndex = sending.firstIndex ?? (this.#indexes.get(replica) ?? 0) + 1;
    if (sending.firstIndex === undefined) this.#indexes.set(replica, firstIndex + ops.length - 1);
    this.n += 1;
    this.now += 1_000;
    const transaction: Transaction = {
      schemaVersion: sending.schemaVersion ?? 1,
      hlc: { wallMs: sending.at ?? this.now, counter: 0 },
      atomicity: sending.atomicity ?? 'whole',
      ops,
    };
    const context: MergeContext = {
      tenant: 'acme',
      schema: this.schema,
      author: {
        kind: sending.kind ?? 'device',
        replica,
        epoch: 1,
        user: `user-${replica}`,
        firstIndex,
        ...(sending.indexes === undefined ? {} : { indexes: sending.indexes }),
        origin: null,
      },
      version: { incarnation: 1, n: this.n },
      now: this.now,
      receivedAt: this.now,
      offsetMs: 0,
      foreignModifiedOn: sending.foreignModifiedOn ?? null,
      crdt: this.crdt,
      mergerActor: sha256(new TextEncoder().encode(`merger/${this.n}`)).slice(0, 16),
      refusal: sending.refusal ?? null,
      resolution: sending.resolution ?? null,
    };
    const decision = decide(this.reader(replica), transaction, context);
    this.#apply(replica, decision, ops, sending.resolution !== undefined);
    return decision;
  }

  #apply(replica: string, decision: Decision, ops: readonly Operation[], again: boolean): void {
    for (const { table, id, after } of decision.writes) this.records.set(`${table}/${id}`, after);
    for (const { table, id, chain } of decision.chains)
      if (chain === null) this.#chains.delete(`${replica}/${table}/${id}`);
      else this.#chains.set(`${replica}/${table}/${id}`, chain);
    for (const { table, id, field, document } of decision.sides)
      if (document === null) this.#sides.delete(`${replica}/${table}/${id}/${field}`);
      else this.#sides.set(`${replica}/${table}/${id}/${field}`, document);
    if (again) {
      for (const { index } of decision.operations) this.#parkedOps.delete(`${replica}/${index}`);
      for (const { table, record } of ops)
        this.#parkedCreates.delete(`${replica}/${table}/${record}`);
    }
    for (const park of decision.parks) {
      this.parks.push(park);
      for (const one of decision.operations) {
        if (!park.ops.includes(one.index)) continue;
        this.#parkedOps.set(`${replica}/${one.index}`, park.root);
        const created = ops.some(
          (op) => op.kind === 'create' && op.table === one.table && op.record === one.record,
        );
        if (created) this.#parkedCreates.set(`${replica}/${one.table}/${one.record}`, park.root);
      }
    }
  }
}

/** Outcomes of a decision's operations, in order. */
export const outcomesOf = (...decisions: readonly Decision[]): Outcome[] =>
  decisions.flatMap(({ operations }) => operations.map(({ outcome }) => outcome));
