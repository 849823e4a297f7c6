import { MemoryLevel } from 'memory-level';
import { queryRecordsMax, type ServerQuery } from '@tidemark/server';
import { describe, expect, test } from 'vitest';
import { isLeft, toHex, TidemarkError } from '@tidemark/model';
import type { Link } from '@tidemark/ports';
import { decodeMessage, encodeMessage, type MessageName, type Messages } from '@tidemark/protocol';
import { createMemoryCheckpoints, DeviceLog, sketchTransaction } from '@tidemark/testkit';
import { openFixture, place } from './server-fixture.js';
import { PullingDevice, sha256 } from './pulling-device.js';

const user = { user: 'root' };
const memory = () =>
  new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });
const databases = () => ({ store: memory(), input: memory() });

const ask = async <A extends MessageName, B extends MessageName>(
  link: Link,
  endpoint: 'resume' | 'grant' | 'customization',
  request: A,
  message: Messages[A],
  answer: B,
): Promise<Messages[B]> => {
  const decoded = decodeMessage(
    answer,
    await link.request(endpoint, encodeMessage(request, message)),
  );
  if (isLeft(decoded)) throw decoded.left;
  return decoded.right.message;
};

const grant = (link: Link, epoch: number, provisional: string, index = 0, head = '00'.repeat(32)) =>
  ask(
    link,
    'grant',
    'GrantRequest',
    { epoch, provisional, continues: { index, head }, origin: null },
    'GrantAnswer',
  );

const resume = (link: Link, log: DeviceLog, more: Partial<Messages['ResumeRequest']> = {}) =>
  ask(
    link,
    'resume',
    'ResumeRequest',
    {
      epoch: log.epoch,
      provisional: 'aa',
      lastIndex: log.lastIndex,
      publishedTo: log.lastIndex,
      points: [...log.transactions].reverse().map(({ last, head }) => [last, toHex(head)] as const),
      seen: { incarnation: 0, n: 0 },
      ...more,
    },
    'ResumeAnswer',
  );

const create = (record: string, name: string) =>
  sketchTransaction([
    {
      table: 1,
      record,
      kind: 'create',
      set: [{ field: 1, before: null, after: name }],
    },
  ]);

const open = async (replica = 'dev1', more: Parameters<typeof openFixture>[0] = {}) => {
  const f = await openFixture(more);
  const link = await f.link(replica);
  const log = new DeviceLog({ replica, user: 'user-1', hash: sha256 });
  return { f, link, log };
};

describe('log agreement', () => {
  test('[SRV-50] unknown, granted once, merged, receipts exact at transaction ends', async () => {
    const { f, link, log } = await open();
    expect((await resume(link, log)).status).toBe('unknown');
    const granted = await grant(link, 0, 'aa');
    expect(granted).toMatchObject({ granted: true, epoch: 1 });
    // The answer was lost and asked for again: the same epoch.
    expect(await grant(link, 0, 'aa')).toMatchObject({ granted: true, epoch: 1 });
    expect(await grant(link, 0, 'bb')).toMatchObject({ granted: false, epoch: 1 });
    for (let i = 0; i < 5; i += 1) log.append(create(`x${i}`, `X ${i}`));
    await Promise.all([link.publish(log.envelope(1, 3)), link.publish(log.envelope(4, 5))]);
    await f.server.settle();
    const answer = await resume(link, log);
    expect(answer).toMatchObject({ status: 'ok', common: 5, differs: 0 });
    expect(answer.receipt).toMatchObject({ epoch: 1, mergedTo: 5, head: log.headTextAt(5) });
    expect(await f.server.get('places', 'x3')).toMatchObject({ name: 'X 3' });
    await f.server.close();
  });

  test('[SRV-51] a log that parted is a fork at the last common transaction; an ended epoch is told', async () => {
    const { f, link, log } = await open();
    await grant(link, 0, 'aa');
    for (let i = 0; i < 4; i += 1) log.append(create(`x${i}`, `X ${i}`));
    await link.publish(log.envelope());
    await f.server.settle();
    const other = log.copy({}, 2);
    for (let i = 0; i < 3; i += 1) other.append(create(`y${i}`, `Y ${i}`));
    expect(await resume(link, other)).toMatchObject({ status: 'fork', common: 2, differs: 3 });
    expect(await resume(link, log.copy({}, 3))).toMatchObject({
      status: 'fork',
      common: 3,
      differs: 0,
    });
    expect(await grant(link, 1, 'cc', 2, log.headTextAt(2))).toMatchObject({
      granted: true,
      epoch: 2,
    });
    expect((await resume(link, log)).status).toBe('ended');
    expect((await resume(link, log, { epoch: 2, provisional: 'cc' })).status).not.toBe('ended');
    await f.server.close();
  });

  test('[SRV-52] another user, tenant or replica is refused with a code; a newer view waits, then is behind', async () => {
    const { f, link, log } = await open();
    await grant(link, 0, 'aa');
    const stranger = await f.link('dev1', 'user-3');
    await expect(resume(stranger, log)).rejects.toMatchObject({ code: 'denied' });
    const foreign = await f.server.transport.open({
      tenant: 'other',
      replica: 'dev1',
      user: 'user-1',
    });
    await expect(resume(foreign, log)).rejects.toMatchObject({ code: 'wrong-tenant' });
    log.append(create('x', 'X'));
    const second = await f.link('dev2');
    await expect(second.publish(log.envelope())).rejects.toMatchObject({
      code: 'malformed-message',
    });
    await expect(link.publish(new Uint8Array([9, 9, 9]))).rejects.toMatchObject({
      recovery: expect.any(String) as string,
    });
    await expect(resume(link, log, { seen: { incarnation: 1, n: 1_000 } })).rejects.toMatchObject({
      code: 'behind',
    });
    await f.server.close();
  });
});

describe('writes, explanations, changes', () => {
  test('[SRV-53] bad writes are refused with a code before anything is stored', async () => {
    const { f } = await open();
    const bad = [
      [{ kind: 'put', table: 'nowhere', id: 'a', fields: {} }, 'unknown-table'],
      [{ kind: 'put', table: 'places', id: 'a', fields: { nope: 1 } }, 'unknown-field'],
      [{ kind: 'put', table: 'places', id: 'a', fields: { name: 7 } }, 'invalid-value'],
      [{ kind: 'put', table: 'places', id: 'a', fields: { size: 1 } }, 'required-field'],
      [{ kind: 'put', table: 'places', id: '', fields: { name: 'x' } }, 'invalid-id'],
      [{ kind: 'increment', table: 'places', id: 'a', by: { name: 1 } }, 'invalid-value'],
    ] as const;
    const { n } = f.server.status().state;
    for (const [op, code] of bad)
      await expect(f.server.write([op as never], user)).rejects.toMatchObject({ code });
    expect(f.server.status().state.n).toBe(n);
    for (const id of ['__proto__', 'a b', 'ü.*>', '..'])
      await f.server.write([{ kind: 'put', table: 'places', id, fields: { name: id } }], user);
    expect((await f.server.query('places')).map(({ id }) => id)).toHaveLength(4);
    expect(await f.server.get('places', '__proto__')).toMatchObject({ name: '__proto__' });
    await f.server.close();
  });

  test('[SRV-76] a query cuts nothing unseen: beyond its bound it asks for a limit', async () => {
    const { f } = await open();
    const places = Array.from({ length: queryRecordsMax + 1 }, (_, i) => place(i));
    for (let at = 0; at < places.length; at += 1_000)
      await f.server.write(places.slice(at, at + 1_000), user);
    const found = async (query: ServerQuery) => (await f.server.query('places', query)).length;
    await expect(f.server.query('places')).rejects.toMatchObject({ code: 'query-too-large' });
    expect(await found({ limit: queryRecordsMax })).toBe(queryRecordsMax);
    expect(await found({ filter: 'size < 3' })).toBe(3);
    expect(await found({ limit: 7, after: 'p09998' })).toBe(2);
    await expect(found({ limit: queryRecordsMax + 1 })).rejects.toThrow('go on with after');
    await f.server.close();
  });

  test('[SRV-54] changes come in order, at least once, and go on after a cursor', async () => {
    const { f } = await open();
    await f.server.write([place(1)], user);
    await f.server.write([place(1, { size: 9 }), place(2)], { user: 'user-2' });
    await f.server.write([{ kind: 'delete', table: 'places', id: 'p00001' }], user);
    await f.server.write([place(1, { size: 3 })], user);
    const seen: string[] = [];
    const cursors: string[] = [];
    const stop = new AbortController();
    for await (const change of f.server.changes({ signal: stop.signal })) {
      const { kind, id, fields, before, by } = change;
      const sizes = [before, fields].map(({ size }) => String(size as number | undefined));
      seen.push(`${kind} ${id} ${sizes.join('>')} ${String(by)}`);
      cursors.push(change.cursor);
      if (seen.length === 5) stop.abort();
    }
    expect(seen).toEqual([
      'create p00001 undefined>1 root',
      'update p00001 1>9 user-2',
      'create p00002 undefined>2 user-2',
      'delete p00001 9>undefined null',
      'create p00001 undefined>3 root',
    ]);
    expect(new Set(cursors).size).toBe(5);
    const again: string[] = [];
    const rest = new AbortController();
    for await (const change of f.server.changes({
      since: cursors[1] as string,
      signal: rest.signal,
    })) {
      again.push(change.cursor);
      if (again.length === 3) rest.abort();
    }
    expect(again).toEqual(cursors.slice(2));
    await expect(f.server.changes({ since: '7.1.1' }).next()).rejects.toMatchObject({
      code: 'invalid-cursor',
    });
    await f.server.close();
  });

  test('[SRV-54] changes go on over a restart of the server where their reader stopped', async () => {
    const kept = databases();
    const first = await openFixture({ databases: kept });
    const read = async (
      { server }: Awaited<ReturnType<typeof openFixture>>,
      count: number,
      since?: string,
    ): Promise<readonly (readonly [id: string, cursor: string])[]> => {
      const stop = new AbortController();
      const out: (readonly [string, string])[] = [];
      const options = { signal: stop.signal, ...(since === undefined ? {} : { since }) };
      for await (const { id, cursor } of server.changes(options)) {
        out.push([id, cursor]);
        if (out.length === count) stop.abort();
      }
      return out;
    };
    await first.server.write(
      Array.from({ length: 5 }, (_, i) => place(i)),
      user,
    );
    const before = await read(first, 3);
    await first.server.close();
    await Promise.all([kept.store.open(), kept.input.open()]);
    const second = await openFixture({ databases: kept });
    await second.server.write([place(5)], user);
    const after = await read(second, 3, before[2]?.[1]);
    expect([...before, ...after].map(([id]) => id)).toEqual(
      Array.from({ length: 6 }, (_, i) => `p0000${i}`),
    );
    await second.server.close();
  });

  test('[SRV-55] explain prints each decision on a value with rule and times', async () => {
    const { f, link, log } = await open();
    await f.server.write([place(1)], user);
    const base = new PullingDevice(link, { tables: 'all' });
    await grant(link, 0, 'aa');
    await base.pull();
    const row = base.tables.get(1)?.get('p00001');
    if (row === undefined) throw new Error('the record came');
    await f.server.write([place(1, { size: 50 })], user);
    log.append(
      sketchTransaction([
        {
          table: 1,
          record: 'p00001',
          kind: 'update',
          base: { ...row.version, born: row.born, modifiedOn: row.modifiedOn },
          set: [{ field: 3, before: 1, after: 70 }],
        },
      ]),
    );
    await link.publish(log.envelope());
    await f.server.settle();
    const entries = await f.server.explain('places', 'p00001', 'size');
    const last = entries[entries.length - 1];
    expect(last).toMatchObject({
      op: 'dev1/1/1',
      field: 'size',
      base: 1,
      theirs: 50,
      ours: 70,
      result: 50,
      rule: 'server-wins',
      outcome: 'superseded',
    });
    expect(await f.server.explain('places', 'p00001', undefined, 1)).toHaveLength(1);
    await f.server.close();
  });
});

describe('central sync errors and logs', () => {
  test('[SRV-67] a sync error shows what the server holds and is resolved in order; a stale view is told', async () => {
    const { f, link, log } = await open();
    await f.server.write([place(1, { rank: 1 })], user);
    await grant(link, 0, 'aa');
    const base = new PullingDevice(link, { tables: 'all' });
    await base.pull();
    const row = base.tables.get(1)?.get('p00001');
    if (row === undefined) throw new Error('the record came');
    await f.server.write([place(1, { rank: 2 })], user);
    log.append(
      sketchTransaction([
        {
          table: 1,
          record: 'p00001',
          kind: 'update',
          base: { ...row.version, born: row.born, modifiedOn: row.modifiedOn },
          set: [{ field: 7, before: 1, after: 3 }],
        },
      ]),
    );
    await link.publish(log.envelope());
    await f.server.settle();
    const [error, ...others] = await f.server.errors.list({ state: 'open' });
    expect(others).toEqual([]);
    expect(error).toMatchObject({
      id: 'dev1/1/1',
      kind: 'conflict',
      table: 'places',
      record: 'p00001',
      conflicts: [{ field: 'rank', base: 1, ours: 3, theirs: 2 }],
    });
    if (error === undefined) throw new Error('there is an error');
    // The replica holds its own sync errors, others do not.
    await base.pull();
    expect(base.sorted(60_001).map(([id]) => id)).toEqual(['dev1/1/1']);
    const other = new PullingDevice(await f.link('dev2'), { tables: 'all' });
    await other.pull();
    expect(other.sorted(60_001)).toEqual([]);
    await f.server.write([place(1, { rank: 4 })], user);
    const { shown, id: root } = error;
    const stale = await f.server.errors.resolve(root, {
      action: 'take-server',
      shown,
      user: 'boss',
    });
    expect(stale.verdict).toBe('stale');
    expect((await f.server.errors.get(root))?.conflicts[0]?.theirs).toBe(4);
    const merged = await f.server.errors.resolve(root, {
      action: 'merge',
      choices: [{ table: 'places', record: 'p00001', field: 'rank', pick: 'mine' }],
      user: 'boss',
    });
    expect(merged).toMatchObject({ verdict: 'done', error: { state: 'resolved' } });
    expect(await f.server.get('places', 'p00001')).toMatchObject({ rank: 3 });
    await expect(
      f.server.errors.resolve('nobody/1/1', { action: 'retry', user: 'boss' }),
    ).rejects.toMatchObject({ code: 'invalid-resolution' });
    await f.server.close();
  });

  test('[SRV-68] sync logs are kept newest first, of their own replica only', async () => {
    const { f, link } = await open();
    const entry = (run: string, replica = 'dev1'): Messages['SyncLog'] => ({
      run,
      replica,
      user: 'user-1',
      mode: 'foreground',
      startedOn: 1,
      endedOn: 2,
      result: 'synced',
      error: null,
      uploadedOperations: 0,
      uploadedBytes: 0,
      downloadedBytes: 0,
      pages: 1,
      passes: 1,
      serverReads: 1,
      tables: [],
      pendingOperations: 0,
      parked: 0,
      phases: {},
    });
    for (const run of ['one', 'two', 'three']) {
      await link.request('sync-log', encodeMessage('SyncLog', entry(run)));
      f.clock.advance(1_000);
    }
    expect((await f.server.syncLogs()).map(({ log }) => log.run)).toEqual(['three', 'two', 'one']);
    await expect(
      link.request('sync-log', encodeMessage('SyncLog', entry('x', 'dev2'))),
    ).rejects.toMatchObject({ code: 'malformed-message' });
    await f.server.close();
  });
});

describe('restart and restore', () => {
  test('[SRV-56] a restarted server has the same digest and honours cursors', async () => {
    const kept = databases();
    const first = await openFixture({ databases: kept });
    await first.server.write(
      Array.from({ length: 30 }, (_, i) => place(i)),
      user,
    );
    const device = new PullingDevice(await first.link('r1'), { tables: 'all' });
    await device.pull();
    const { digest } = first.server.status().state;
    const { cursor } = device;
    await first.server.close();
    await Promise.all([kept.store.open(), kept.input.open()]);
    const second = await openFixture({ databases: kept });
    expect(second.server.status().state.digest).toBe(digest);
    const again = new PullingDevice(await second.link('r1'), { tables: 'all' });
    again.cursor = cursor;
    expect((await again.pull()).closing).toBe(true);
    expect(again.entries.upsert).toBe(0);
    await second.server.close();
  });

  test('[SRV-57] a checkpoint and the tail of the input give the digest of the whole input', async () => {
    const folder = createMemoryCheckpoints();
    const kept = databases();
    const { f, link, log } = await open('dev1', { databases: kept, checkpoints: { folder } });
    await grant(link, 0, 'aa');
    log.append(create('x1', 'X'));
    await link.publish(log.envelope());
    await f.server.settle();
    expect((await resume(link, log)).receipt.archivedTo).toBe(0);
    await f.server.checkpoint();
    expect((await resume(link, log)).receipt.archivedTo).toBe(1);
    await f.server.write([place(1), place(2)], user);
    const { digest, n } = f.server.status().state;
    const print = await f.server.fingerprint('places');
    await f.server.close();
    await kept.input.open();
    const lost = await openFixture({
      databases: { store: memory(), input: kept.input },
      checkpoints: { folder },
    });
    expect(lost.events.map(({ type }) => type)).toEqual(['checkpoint-loaded']);
    expect(lost.server.status().state).toMatchObject({ digest, n, incarnation: 1 });
    expect(await lost.server.fingerprint('places')).toBe(print);
    await lost.server.close();
    // Without a checkpoint the whole input gives the same.
    await kept.input.open();
    const refolded = await openFixture({ databases: { store: memory(), input: kept.input } });
    expect(refolded.server.status().state).toMatchObject({ digest, n });
    await refolded.server.close();
  });

  test('[SRV-58] missing input starts a new incarnation; replicas offer again and repair by range', async () => {
    const folder = createMemoryCheckpoints();
    const { f, link, log } = await open('dev1', { checkpoints: { folder } });
    await grant(link, 0, 'aa');
    await f.server.write(
      Array.from({ length: 40 }, (_, i) => place(i)),
      user,
    );
    log.append(create('x1', 'X'));
    await link.publish(log.envelope());
    await f.server.settle();
    await f.server.checkpoint();
    log.append(create('x2', 'Y'));
    await link.publish(log.envelope(2, 2));
    await f.server.write([place(3, { size: 99 })], user);
    const device = new PullingDevice(link, { tables: 'all' });
    await device.pull();
    await f.server.close();

    const restored = await openFixture({ checkpoints: { folder } });
    const incarnation = restored.events.find(({ type }) => type === 'incarnation');
    expect(incarnation).toMatchObject({ incarnation: 2 });
    const next = await restored.link('dev1');
    const answer = await resume(next, log, { seen: device.seen });
    expect(answer.receipt).toMatchObject({ incarnation: 2, mergedTo: 1, archivedTo: 1 });
    await next.publish(log.envelope(2, 2));
    await restored.server.settle();
    const after = new PullingDevice(next, { tables: 'all' });
    after.cursor = device.cursor;
    after.seen = device.seen;
    for (const [id, rows] of device.tables) after.tables.set(id, rows);
    expect((await after.page()).rehydrate).toBe('incarnation');
    const came = await after.repair([
      ['places', 1],
      ['plain', 2],
      ['sync_errors', 60_001],
    ]);
    expect(came).toBeGreaterThan(0);
    expect(came).toBeLessThan(20);
    await after.pull();
    expect(after.fingerprint(1)).toBe(await restored.server.fingerprint('places'));
    expect(await restored.server.get('places', 'x2')).toMatchObject({ name: 'Y' });
    await restored.server.close();
  });

  test('[SRV-59] an input that begins after every copy is refused, nothing is made up', async () => {
    const folder = createMemoryCheckpoints();
    const kept = databases();
    const f = await openFixture({
      databases: kept,
      checkpoints: { folder, trimInput: true } as never,
    });
    await f.server.write([place(1)], user);
    await f.server.checkpoint();
    await f.server.write([place(2)], user);
    await f.server.close();
    await kept.input.open();
    await expect(
      openFixture({ databases: { store: memory(), input: kept.input } }),
    ).rejects.toBeInstanceOf(TidemarkError);
  });
});
