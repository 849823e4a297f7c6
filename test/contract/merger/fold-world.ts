import { createHash } from 'node:crypto';
import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto } from '@tidemark/crypto-node';
import {
  decodeReplicaState,
  encodeInputEntry,
  openFold,
  type Fold,
  type FoldOptions,
  type InputEntry,
  type ReplicaState,
} from '@tidemark/merger';
import {
  baseOfRow,
  decodeRow,
  syncErrorFromFields,
  syncErrorsTable,
  type BaseVersion,
  type Customization,
  type Row,
  type SyncErrorRow,
  type TableDefinition,
} from '@tidemark/model';
import type { InputLog, Marker, ServerSpace, ServerStore } from '@tidemark/ports';
import { openInputLog, openServerStore } from '@tidemark/store-level';
import { DeviceLog, sketchTransaction, type OperationSketch } from '@tidemark/testkit';
import { MemoryLevel } from 'memory-level';

/** SHA-256 of the platform. */
export const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());

const memory = (): MemoryLevel<Uint8Array, Uint8Array> =>
  new MemoryLevel({ keyEncoding: 'view', valueEncoding: 'view' });

const memoryMarker = (): Marker => {
  let bytes: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(bytes),
    write: (next) => {
      bytes = next;
      return Promise.resolve();
    },
  };
};

/** Opens an empty server store in memory. */
export const memoryStore = (): Promise<ServerStore> =>
  openServerStore({ database: memory(), marker: memoryMarker(), hash: sha256 });

/** Table `visits` (1) with a manual field, `notes` (2) that refers to it, `plain` (3) by the defaults. */
export const testTables: readonly TableDefinition[] = [
  {
    id: 1,
    name: 'visits',
    rule: 'server-wins',
    onDelete: 'edit-wins',
    indexes: [],
    scopeKey: 'area',
    fields: [
      { id: 1, name: 'area', type: 'string' },
      { id: 2, name: 'status', type: 'string', rule: 'manual' },
      { id: 3, name: 'count', type: 'counter' },
      { id: 4, name: 'rank', type: 'number', rule: 'latest-wins' },
      { id: 5, name: 'text', type: 'text' },
      { id: 6, name: 'short', type: 'string', maxLength: 5 },
    ],
  },
  {
    id: 2,
    name: 'notes',
    rule: 'device-wins',
    onDelete: 'delete-wins',
    indexes: [],
    fields: [
      { id: 1, name: 'visit', type: 'reference', table: 'visits' },
      { id: 2, name: 'body', type: 'string' },
    ],
  },
];

/** Customization of the test tables. */
export const customizationOf = (
  version: number,
  tables: readonly TableDefinition[] = testTables,
): Customization => ({ format: 1, version, tables });

const tenant = 'acme';

/** One input with the servers that fold it. */
export class FoldWorld {
  readonly input: InputLog;
  readonly clock: { now: number };
  store: ServerStore;
  fold: Fold;
  readonly #options: Partial<FoldOptions>;

  private constructor(
    input: InputLog,
    clock: { now: number },
    store: ServerStore,
    fold: Fold,
    options: Partial<FoldOptions>,
  ) {
    this.input = input;
    this.clock = clock;
    this.store = store;
    this.fold = fold;
    this.#options = options;
  }

  /** Opens an empty input and one server. */
  static async open(options: Partial<FoldOptions> = {}): Promise<FoldWorld> {
    const clock = { now: 100_000 };
    const input = await openInputLog({
      database: memory(),
      marker: memoryMarker(),
      hash: sha256,
      clock: { nowMs: () => clock.now },
    });
    const store = await memoryStore();
    const fold = await FoldWorld.#openFold(input, store, options);
    return new FoldWorld(input, clock, store, fold, options);
  }

  static #openFold(
    input: InputLog,
    store: ServerStore,
    options: Partial<FoldOptions>,
  ): Promise<Fold> {
    const crypto = nodeCrypto;
    const crdt = () => loadAutomergeCrdt({ hash: sha256 });
    return openFold({ tenant, store, input, crypto, crdt, ...options });
  }

  /** Another server that folds the same input from the start. */
  async again(options: Partial<FoldOptions> = {}): Promise<FoldWorld> {
    const store = await memoryStore();
    const merged = { ...this.#options, ...options };
    const fold = await FoldWorld.#openFold(this.input, store, merged);
    return new FoldWorld(this.input, this.clock, store, fold, merged);
  }

  /** Appends entries to the input; time goes on by 10 ms. */
  async append(...entries: readonly InputEntry[]): Promise<void> {
    this.clock.now += 10;
    await this.input.append(entries.map(encodeInputEntry));
  }

  /** Appends entries and folds them. */
  async give(...entries: readonly InputEntry[]): Promise<void> {
    await this.append(...entries);
    await this.fold.advance();
  }

  /** Publishes the test tables and grants epoch 1 to a device. */
  async enrol(replica: string, user: string): Promise<Device> {
    if (this.fold.state().customizationVersion === 0)
      await this.give({ kind: 'customization', by: 'admin', json: customizationOf(1) });
    const device = new Device(new DeviceLog({ replica, user, hash: sha256 }));
    await this.give(device.grant({ epoch: 0, provisional: `p-${replica}` }));
    return device;
  }

  /** Row of a record, deleted or not. */
  async stored(table: number, id: string): Promise<{ row: Row; deleted: boolean } | undefined> {
    const [stored] = await this.store.getRecords(table, [id]);
    return stored && { row: decodeRow(stored.row), deleted: stored.deleted };
  }

  /** Fields of a live record. */
  async fields(table: number, id: string): Promise<Row['fields'] | undefined> {
    const found = await this.stored(table, id);
    return found === undefined || found.deleted ? undefined : found.row.fields;
  }

  /** What an author who sees the record names as base. */
  async base(table: number, id: string): Promise<BaseVersion | null> {
    const found = await this.stored(table, id);
    return found === undefined || found.deleted ? null : baseOfRow(found.row);
  }

  async replica(id: string): Promise<ReplicaState | undefined> {
    const [bytes] = await this.store.getEntries('replicas', [id]);
    return bytes && decodeReplicaState(bytes);
  }

  /** Every sync error, by root. */
  async syncErrors(): Promise<readonly SyncErrorRow[]> {
    const { records } = await this.store.scanRecords(syncErrorsTable, {
      maxBytes: 1e9,
      maxRecords: 1e6,
    });
    return records.map(({ id, row }) => syncErrorFromFields(id, decodeRow(row).fields));
  }

  /** Every entry of a space. */
  async space(space: ServerSpace): Promise<readonly (readonly [string, string])[]> {
    const found = await this.store.scanEntries(space, { gt: '', lt: '\uffff', limit: 1e6 });
    return found.map(({ key, value }) => [key, Buffer.from(value).toString('base64')] as const);
  }
}

/** Device that sends what it writes. */
export class Device {
  log: DeviceLog;

  constructor(log: DeviceLog) {
    this.log = log;
  }

  get caller(): { tenant: string; replica: string; user: string } {
    return { tenant, replica: this.log.replica, user: this.log.user };
  }

  /** Entry that asks for an epoch. */
  grant(
    request: Partial<Extract<InputEntry, { kind: 'grant' }>['request']>,
  ): Extract<InputEntry, { kind: 'grant' }> {
    const continues = { index: 0, head: '0'.repeat(64) };
    const full = { epoch: 1, provisional: 'p', continues, origin: null, ...request };
    return { kind: 'grant', caller: this.caller, request: full };
  }

  /** Appends a transaction of the given operations; returns the index of the first. */
  write(...ops: readonly OperationSketch[]): number {
    return this.log.append(sketchTransaction(ops));
  }

  /** Entry with the transactions from `from` to `to`. */
  envelope(from = 1, to = this.log.lastIndex): Extract<InputEntry, { kind: 'envelope' }> {
    return { kind: 'envelope', caller: this.caller, envelope: this.log.envelope(from, to) };
  }

  /** Writes a transaction and gives the entry that sends it alone. */
  send(...ops: readonly OperationSketch[]): Extract<InputEntry, { kind: 'envelope' }> {
    return this.envelope(this.write(...ops));
  }

  /** OpId text of the operation at an index. */
  op(index: number): string {
    return `${this.log.replica}/${this.log.epoch}/${index}`;
  }
}

/** Field changes from pairs of before and after. */
export const set = (
  changes: Readonly<Record<number, readonly [unknown, unknown]>>,
): NonNullable<OperationSketch['set']> =>
  Object.entries(changes).map(([field, [before, after]]) => ({
    field: Number(field),
    before: before as string,
    after: after as string,
  }));
