// Random edits, merges, parks, pages, flips, rewinds and openings against a naive model: what the user
// sees is the image of the last flip with the remaining operations applied in order.
import type { LocalReplica } from '@tidemark/client';
import {
  decodeTransaction,
  openTransaction,
  syncErrorFields,
  syncErrorsTable,
  type Operation,
  type Value,
} from '@tidemark/model';
import type { PageEntry } from '@tidemark/protocol';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lawRuns } from '../../law-runs.js';
import { closingAt, newDisk, openOn, pageOf, rowOf, sha256, upsert, type Disk } from './harness.js';

type Fields = Record<number, Value>;
type Image = Map<string, Fields>;

const ids = ['a', 'b', 'c', 'd'];

/** A record that is gone keeps what it held: an update of its author brings it back to the author. */
interface Seen {
  readonly gone: boolean;
  readonly fields: Fields;
}

const applyNaively = (records: Map<string, Seen>, op: Operation): Map<string, Seen> => {
  const current = records.get(op.record);
  if (op.kind === 'delete') return records.set(op.record, { fields: {}, ...current, gone: true });
  if (current === undefined && op.kind === 'update') return records;
  const live = current !== undefined && (!current.gone || op.kind === 'update');
  const fields: Fields = live ? { ...current.fields } : {};
  for (const { field, after } of op.set) fields[field] = after;
  for (const { field, by } of op.inc) fields[field] = Number(fields[field] ?? 0) + by;
  return records.set(op.record, { gone: false, fields });
};

const seenOf = (image: Image): Map<string, Seen> =>
  new Map([...image].map(([key, fields]) => [key, { gone: false, fields }]));

/** A server that decides operations one by one, parks some, and remembers its past for rewinds. */
class NaiveServer {
  image: Image = new Map();
  versions = new Map<string, number>();
  n = 0;
  mergedTo = 0;
  incarnation = 1;
  errors = new Map<number, 'open' | 'resolved'>();
  past: { image: Image; mergedTo: number; errors: Map<number, 'open' | 'resolved'> }[] = [];

  keep(): void {
    this.past.push({
      image: new Map(this.image),
      mergedTo: this.mergedTo,
      errors: new Map(this.errors),
    });
  }

  write(id: string, fields: Fields | null): void {
    this.n += 1;
    if (fields === null) this.image.delete(id);
    else this.image.set(id, fields);
    this.versions.set(id, this.n);
  }

  apply(op: Operation): void {
    const before = seenOf(this.image);
    const result = applyNaively(before, op).get(op.record);
    this.write(op.record, result === undefined || result.gone ? null : result.fields);
  }

  rewind(): boolean {
    const past = this.past.pop();
    if (past === undefined) return false;
    this.image = past.image;
    this.mergedTo = past.mergedTo;
    this.errors = past.errors;
    this.incarnation += 1;
    this.n += 1;
    for (const id of ids) this.versions.set(id, this.n);
    return true;
  }
}

class World {
  readonly disk: Disk = newDisk();
  readonly server = new NaiveServer();
  replica!: LocalReplica;
  close!: () => Promise<void>;
  /** The image and the facts of the last flip. */
  image: Image = new Map();
  /** Records that the image lost while own operations were on them: what was seen, up to which operation. */
  lost = new Map<string, { readonly seen: Seen; readonly upTo: number }>();
  viewFrom = 0;
  open = new Set<number>();
  pulled = 0;
  pulledIncarnation = 1;
  sent = new Map<number, 'open' | 'resolved'>();

  async start(): Promise<void> {
    const opened = await openOn(this.disk);
    this.replica = opened.replica;
    this.close = opened.close;
    if (this.replica.meta().epoch === 0)
      await this.replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
  }

  async ops(): Promise<{ readonly index: number; readonly op: Operation }[]> {
    const out: { index: number; op: Operation }[] = [];
    for (const { index, bytes } of await this.replica.readLog(1, 100_000_000)) {
      const stored = openTransaction(bytes, sha256);
      if (stored._tag === 'Left' || stored.right.payload === undefined) throw new Error('log');
      const decoded = decodeTransaction(stored.right.payload);
      if (decoded._tag === 'Left') throw new Error(decoded.left);
      decoded.right.ops.forEach((op, i) => out.push({ index: index + i, op }));
    }
    return out;
  }

  /** Operations on top of the image, in order. */
  async remaining(): Promise<{ readonly index: number; readonly op: Operation }[]> {
    return (await this.ops()).filter(({ index }) => index > this.viewFrom || this.open.has(index));
  }

  /** Records as their author sees them, with its operations up to an index. */
  async records(limit = Number.MAX_SAFE_INTEGER): Promise<Map<string, Seen>> {
    const records = seenOf(this.image);
    for (const [key, { seen }] of this.lost) records.set(key, seen);
    for (const { index, op } of await this.remaining())
      if (index <= limit && index > (this.lost.get(op.record)?.upTo ?? 0))
        applyNaively(records, op);
    return records;
  }

  async expected(): Promise<Record<string, Fields>> {
    const records = await this.records();
    const out: Record<string, Fields> = {};
    for (const id of ids) {
      const found = records.get(id);
      if (found !== undefined && !found.gone) out[id] = tidy(found.fields);
    }
    return out;
  }

  async seen(): Promise<Record<string, Fields>> {
    const rows = await this.replica.query('tasks');
    return Object.fromEntries(rows.map((row) => [row.id, fieldsOf(row)]));
  }

  /** Pages of everything that changed since the last flip, and of the sync errors. */
  pages(repair: boolean) {
    const { server } = this;
    const entries: PageEntry[] = [];
    for (const id of ids) {
      const n = server.versions.get(id) ?? 0;
      if (!repair && n <= this.pulled) continue;
      const fields = server.image.get(id);
      const row = fields && rowOf(n, fields);
      if (row === undefined) entries.push({ kind: 'evict', id });
      else entries.push(upsert(id, { ...row, version: { incarnation: server.incarnation, n } }));
    }
    const errors: PageEntry[] = [];
    for (const [index, state] of server.errors) {
      const root = `device/1/${index}`;
      const fields = syncErrorFields({
        root,
        replica: 'device',
        user: 'user-1',
        kind: 'conflict',
        state,
        message: '',
        table: 1,
        record: 'a',
        conflicts: [],
        ranges: [{ epoch: 1, from: index, to: index }],
        parkedOn: 1,
        disposition: null,
        resolvedBy: null,
        lastResolution: null,
      });
      errors.push(upsert(root, rowOf(server.n, fields)));
    }
    for (const index of this.sent.keys())
      if (!server.errors.has(index)) errors.push({ kind: 'evict', id: `device/1/${index}` });
    return [pageOf(1, entries), pageOf(syncErrorsTable, errors)].filter(
      ({ entries: { length } }) => length > 0,
    );
  }

  /** Follows a flip. `quiet` is the last operation of which it is sure that it came before. */
  async flipped(quiet = this.replica.logEnd().lastIndex): Promise<void> {
    const { server } = this;
    const earlier = await this.records(quiet);
    const before = await this.records();
    const upTo = this.replica.logEnd().lastIndex;
    this.image = new Map(server.image);
    this.viewFrom = server.mergedTo;
    this.open = new Set(
      [...server.errors].filter(([, state]) => state === 'open').map(([index]) => index),
    );
    this.pulled = server.n;
    this.pulledIncarnation = server.incarnation;
    this.sent = new Map(server.errors);
    this.lost = new Map();
    const followed = new Set<string>();
    for (const { index, op } of await this.remaining()) {
      const seen = before.get(op.record);
      // A create is refused while the record shows: this one came after the flip that removed it.
      const isLater =
        op.kind === 'create' && index > quiet && earlier.get(op.record)?.gone === false;
      if (!followed.has(op.record) && isLater) followed.add(op.record);
      else if (!followed.has(op.record) && seen !== undefined && !this.image.has(op.record))
        this.lost.set(op.record, { seen, upTo });
    }
  }
}

const names: Record<string, number> = { title: 1, rank: 2, done: 3, votes: 4 };
const fieldsOf = (row: Readonly<Record<string, unknown>>): Fields => {
  const out: Fields = {};
  for (const [name, id] of Object.entries(names)) {
    const value = row[name] as Value;
    if (value !== null) out[id] = value;
  }
  return out;
};
const tidy = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as Fields;

const id = fc.constantFrom(...ids);
const edit = fc.oneof(
  fc.record({ kind: fc.constant('create' as const), id, rank: fc.nat(5) }),
  fc.record({ kind: fc.constant('update' as const), id, rank: fc.nat(5) }),
  fc.record({ kind: fc.constant('increment' as const), id, by: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ kind: fc.constant('delete' as const), id }),
);
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('edit' as const),
      edits: fc.array(edit, { minLength: 1, maxLength: 4 }),
      together: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('merge' as const),
      count: fc.integer({ min: 1, max: 5 }),
      parkEach: fc.nat(3),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('foreign' as const),
      id,
      rank: fc.nat(5),
      remove: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('resolve' as const),
      apply: fc.boolean(),
      reopen: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('pull' as const),
      during: fc.array(edit, { maxLength: 3 }),
      afterwards: fc.array(fc.record({ edit, turns: fc.nat(600) }), { maxLength: 4 }),
      crash: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('rewind' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('keep' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('reopen' as const, 'fold' as const, 'abandon' as const),
    }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const doEdit = async (world: World, one: Edit): Promise<void> => {
  try {
    switch (one.kind) {
      case 'create':
        await world.replica.create(
          'tasks',
          { title: `new ${one.rank}`, rank: one.rank },
          { id: one.id },
        );
        return;
      case 'update':
        await world.replica.update('tasks', one.id, { rank: one.rank, done: one.rank > 2 });
        return;
      case 'increment':
        await world.replica.increment('tasks', one.id, 'votes', one.by);
        return;
      case 'delete':
        await world.replica.delete('tasks', one.id);
        return;
    }
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== 'unknown-record' && code !== 'record-exists') throw error;
  }
};

const merge = async (world: World, count: number, parkEach: number): Promise<void> => {
  const { server } = world;
  const waiting = (await world.ops()).filter(({ index }) => index > server.mergedTo);
  for (const { index, op } of waiting.slice(0, count)) {
    server.mergedTo = index;
    server.n += 1;
    if (parkEach > 0 && index % (parkEach + 1) === 0) server.errors.set(index, 'open');
    else server.apply(op);
  }
};

const resolve = async (world: World, apply: boolean, reopen: boolean): Promise<void> => {
  const { server } = world;
  const wanted = reopen ? 'resolved' : 'open';
  const [index] = [...server.errors].find(([, state]) => state === wanted) ?? [];
  if (index === undefined) return;
  server.n += 1;
  server.errors.set(index, reopen ? 'open' : 'resolved');
  const found = (await world.ops()).find((one) => one.index === index);
  if (apply && !reopen && found !== undefined) server.apply(found.op);
};

/** Reads until told to stop; every read must show the state before or after. */
const watchReads = (world: World, allowed: readonly string[]) => {
  let stop = false;
  const loop = (async () => {
    while (!stop) {
      const shown = JSON.stringify(await world.seen());
      expect(allowed).toContain(shown);
      await new Promise((done) => setImmediate(done));
    }
  })();
  return async () => {
    stop = true;
    await loop;
  };
};

const pull = async (
  world: World,
  during: readonly Edit[],
  afterwards: readonly { readonly edit: Edit; readonly turns: number }[],
  crash: boolean,
): Promise<void> => {
  const { server } = world;
  const rewound = server.incarnation !== world.pulledIncarnation;
  const first = world.replica.meta().tables[1]?.state !== 'current';
  const pages = world.pages(rewound);
  const closing = { ...closingAt(server.n, server.mergedTo), incarnation: server.incarnation };
  const before = JSON.stringify(await world.seen());
  await world.replica.staging.begin(rewound ? 'repair' : 'pull', world.replica.meta().cursor);
  for (const page of pages) await world.replica.staging.put([page], { cursor: 'next' });
  for (const one of during) await doEdit(world, one);
  if (during.length + afterwards.length === 0 && !first) {
    const old = { image: world.image, viewFrom: world.viewFrom, open: world.open };
    expect(JSON.stringify(await world.expected())).toBe(before);
    await world.flipped();
    const after = JSON.stringify(await world.expected());
    expect(old.viewFrom).toBeGreaterThanOrEqual(0);
    const end = watchReads(world, [before, after]);
    await world.replica.staging.flip(closing);
    await end();
    return;
  }
  if (crash && server.mergedTo >= 0) {
    await world.close();
    await world.start();
  }
  const quiet = world.replica.logEnd().lastIndex;
  const flip = world.replica.staging.flip(closing);
  await Promise.all(
    afterwards.map(async ({ edit: one, turns }) => {
      // So many microtasks later: somewhere between the steps of the flip.
      for (let i = 0; i < turns; i += 1) await Promise.resolve();
      await doEdit(world, one);
    }),
  );
  await flip;
  await world.flipped(quiet);
};

const act = async (world: World, one: Action): Promise<void> => {
  switch (one.kind) {
    case 'edit':
      if (one.together && one.edits.length > 1)
        await Promise.all(one.edits.map((each) => doEdit(world, each)));
      else for (const each of one.edits) await doEdit(world, each);
      return;
    case 'merge':
      return merge(world, one.count, one.parkEach);
    case 'foreign':
      return world.server.write(one.id, one.remove ? null : { 1: 'foreign', 2: one.rank });
    case 'resolve':
      return resolve(world, one.apply, one.reopen);
    case 'pull':
      return pull(world, one.during, one.afterwards, one.crash);
    case 'rewind':
      world.server.rewind();
      return;
    case 'reopen':
      await world.close();
      return world.start();
    case 'fold':
      await world.replica.fold(3);
      return;
    case 'abandon':
      await world.replica.staging.begin('pull', null);
      await world.replica.staging.put(world.pages(true), { cursor: null });
      return world.replica.staging.abandon();
    case 'keep':
      return world.server.keep();
  }
};

const checkIndexes = async (world: World): Promise<void> => {
  const all = await world.replica.query('tasks');
  for (const rank of [0, 1, 2, 3, 4, 5, null]) {
    const found = await world.replica.query('tasks', {
      filter: rank === null ? 'rank is null' : `rank = ${rank}`,
    });
    const wanted = all.filter((row) => row['rank'] === rank).map((row) => row.id);
    expect(found.map((row) => row.id).sort()).toEqual(wanted.sort());
  }
  for (const direction of ['asc', 'desc'] as const) {
    const sorted = await world.replica.query('tasks', {
      order: [{ field: 'rank', direction }],
      limit: 10,
    });
    const wanted = [...all].sort((a, b) => {
      const order = Number(a['rank'] ?? -1) - Number(b['rank'] ?? -1) || (a.id < b.id ? -1 : 1);
      return direction === 'asc' ? order : -order;
    });
    expect(sorted.map((row) => row.id)).toEqual(wanted.map((row) => row.id));
  }
};

test('[PUL-10] view = image of the last flip + remaining operations, whatever comes in between', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 30 }), async (actions) => {
      const world = new World();
      await world.start();
      try {
        for (const one of actions) {
          await act(world, one);
          expect(await world.seen(), one.kind).toEqual(await world.expected());
          await checkIndexes(world);
        }
        for (const each of ids) {
          const row = await world.replica.get('tasks', each);
          const wanted = (await world.expected())[each];
          expect(row === undefined ? undefined : fieldsOf(row)).toEqual(wanted);
        }
      } finally {
        await world.close();
      }
    }),
    lawRuns(0.6),
  );
});
