import {
  decodeFeedSegment,
  FeedOutline,
  hashOfId,
  hashOfScopeKey,
  decodeLedgerSegment,
  encodeInputEntry,
  headAt,
  hookMessageMax,
  rewindRow,
} from '@tidemark/merger';
import { utf8Encode } from '@tidemark/model';
import { describe, expect, it } from 'vitest';
import { customizationOf, FoldWorld, set, testTables, type Device } from './fold-world.js';

const visit = { table: 1, record: 'v1' } as const;
const create = (device: Device, status = 'new') =>
  device.send({ ...visit, kind: 'create', set: set({ 1: [null, 'north'], 2: [null, status] }) });

describe('envelopes', () => {
  it('[SRV-1] decides transactions in order and moves the position', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'north', 2: 'new' });
    const state = await world.replica('a');
    expect([state?.mergedTo, state?.head]).toEqual([1, a.log.headTextAt(1)]);
    expect((await world.stored(1, 'v1'))?.row.version.n).toBe(state?.version);
  });

  it('[SRV-2] passes over what is merged, however it is packed again', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    a.write({ ...visit, kind: 'update', prev: 1, inc: [{ field: 3, by: 5 }] });
    a.write({ ...visit, kind: 'update', prev: 1, inc: [{ field: 3, by: 7 }] });
    await world.give(a.envelope(1, 2), a.envelope(1, 3), a.envelope(2, 3), a.envelope(1, 1));
    expect((await world.fields(1, 'v1'))?.[3]).toBe(12);
    expect(world.fold.state().counts.duplicates).toBe(2);
    expect((await world.replica('a'))?.mergedTo).toBe(3);
  });

  it('[SRV-3] skips an envelope that leaves a gap or names another epoch', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    a.write({ ...visit, kind: 'create' });
    const late = a.send({ ...visit, kind: 'update', prev: 1, set: set({ 1: [null, 'x'] }) });
    const other = a.log.copy({ epoch: 2 });
    await world.give(late, { ...late, envelope: other.envelope(1, 1) });
    expect(world.fold.state().counts).toMatchObject({ skipped: 2, quarantined: 0 });
    expect((await world.replica('a'))?.mergedTo).toBe(0);
    await world.give(a.envelope(1, 2));
    expect((await world.replica('a'))?.mergedTo).toBe(2);
  });

  it('[SRV-4] quarantines what is not what it claims and moves no position', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const b = await world.enrol('b', 'user-2');
    const good = create(a);
    const forged = good.envelope.slice();
    forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1;
    await world.give(
      { ...good, envelope: forged },
      { ...good, caller: b.caller },
      { ...good, caller: { ...a.caller, tenant: 'other' } },
      { ...good, envelope: utf8Encode('nonsense') },
    );
    expect(world.fold.state().counts.quarantined).toBe(4);
    expect((await world.space('quarantine')).length).toBe(4);
    expect((await world.replica('a'))?.mergedTo).toBe(0);
    expect(await world.stored(1, 'v1')).toBeUndefined();
  });

  it('[SRV-95] keeps the bytes of a bad envelope with the reason, and goes on with its replica', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const good = create(a);
    const forged = good.envelope.slice();
    forged[forged.length - 1] = (forged[forged.length - 1] ?? 0) ^ 1;
    await world.give({ ...good, envelope: forged });
    const [kept, ...others] = await world.store.scanEntries('quarantine', {
      gt: '',
      lt: '\uffff',
      limit: 10,
    });
    expect(others).toEqual([]);
    const value = Buffer.from(kept?.value ?? []);
    expect(value.includes(Buffer.from(forged))).toBe(true);
    expect(value.includes('"reason":"chain"')).toBe(true);
    await world.give(good);
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'north', 2: 'new' });
    expect(world.fold.state().counts.quarantined).toBe(1);
  });

  it('[SRV-5] quarantines a log that parted from what was merged', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const fork = a.log.copy();
    await world.give(create(a));
    const kept = a.log;
    a.log = fork;
    const parted = create(a, 'other');
    a.write({ ...visit, kind: 'delete', prev: 1 });
    await world.give(a.envelope(2, 2), a.envelope(1, 2));
    expect(parted.kind).toBe('envelope');
    expect(world.fold.state().counts.quarantined).toBe(2);
    expect((await world.replica('a'))?.head).toBe(kept.headTextAt(1));
  });

  it('[SRV-6] rejects an undecodable transaction as poison and goes on behind it', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    a.log.appendPayload(utf8Encode('{"no":"transaction"}'), 2);
    a.write({ ...visit, kind: 'create', set: set({ 1: [null, 'south'] }) });
    await world.give(a.envelope());
    expect((await world.replica('a'))?.mergedTo).toBe(3);
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'south' });
    const [error] = await world.syncErrors();
    expect(error).toMatchObject({ root: 'a/1/1', kind: 'poison', state: 'open' });
    expect(error?.ranges).toEqual([{ epoch: 1, from: 1, to: 2 }]);
  });

  it('[SRV-7] keeps the head after every transaction', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    for (let i = 0; i < 5; i += 1)
      a.write({ ...visit, kind: 'update', prev: 1, inc: [{ field: 3, by: 1 }] });
    await world.give(a.envelope(2, 4), a.envelope(5, 6));
    const state = await world.replica('a');
    if (state === undefined) throw new Error('no state');
    for (let i = 0; i <= 6; i += 1)
      expect(await headAt(world.store, state, i)).toBe(a.log.headTextAt(i));
    expect(await headAt(world.store, state, 7)).toBeUndefined();
  });
});

describe('grants', () => {
  it('[SRV-8] grants by compare-and-set on the current epoch, once', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const first = a.grant({ epoch: 1, provisional: 'x' });
    const second = a.grant({ epoch: 1, provisional: 'y' });
    await world.give(first, second, first);
    expect(await world.replica('a')).toMatchObject({ epoch: 2, provisional: 'x' });
    expect(world.fold.state().counts.refusedGrants).toBe(1);
  });

  it('[SRV-9] continues below what was merged, and no longer owns what was lost', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    const base = await world.base(1, 'v1');
    const backup = a.log.copy();
    await world.give(a.send({ ...visit, kind: 'update', base, set: set({ 2: ['new', 'lost'] }) }));
    a.log = backup;
    const continues = { index: 1, head: backup.headTextAt(1) };
    await world.give(a.grant({ epoch: 1, provisional: 'x', continues }));
    expect(await world.replica('a')).toMatchObject({ epoch: 2, mergedTo: 1, forked: true });
    a.log.epoch = 2;
    await world.give(a.send({ ...visit, kind: 'update', base, set: set({ 2: ['new', 'mine'] }) }));
    expect((await world.fields(1, 'v1'))?.[2]).toBe('lost');
    expect((await world.syncErrors())[0]).toMatchObject({ root: 'a/2/2', kind: 'conflict' });
  });

  it('[SRV-10] starts a clone at a verified position of its origin', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    const b = await world.enrol('b', 'user-2');
    b.log = a.log.copy({ replica: 'c', user: 'user-1', epoch: 1 });
    const origin = { replica: 'a', epoch: 1 };
    const wrong = { index: 1, head: '1'.repeat(64) };
    const right = { index: 1, head: a.log.headTextAt(1) };
    await world.give(b.grant({ epoch: 0, provisional: 'q', continues: wrong, origin }));
    expect(await world.replica('c')).toBeUndefined();
    await world.give(b.grant({ epoch: 0, provisional: 'q', continues: right, origin }));
    expect(await world.replica('c')).toMatchObject({ epoch: 1, mergedTo: 1 });
    await world.give(
      b.send({ ...visit, kind: 'update', prev: 1, set: set({ 2: ['new', 'cloned'] }) }),
    );
    expect((await world.fields(1, 'v1'))?.[2]).toBe('cloned');
  });
});

describe('other entries', () => {
  it('[SRV-11] applies server writes at a version of their own', async () => {
    const world = await FoldWorld.open();
    await world.enrol('a', 'user-1');
    const target = { table: 1, id: 'v9' };
    await world.give({
      kind: 'write',
      user: 'import',
      ops: [
        { kind: 'upsert', ...target, fields: { 1: 'east', 5: 'hello' } },
        { kind: 'increment', ...target, by: { 3: 4 } },
        { kind: 'patch', ...target, fields: { 5: 'hello world' } },
        { kind: 'upsert', table: 60_001, id: 'x', fields: { 1: 'forged' } },
      ],
    });
    expect(await world.fields(1, 'v9')).toMatchObject({ 1: 'east', 3: 4, 5: 'hello world' });
    expect(await world.stored(60_001, 'x')).toBeUndefined();
    await world.give({ kind: 'write', user: 'import', ops: [{ kind: 'delete', ...target }] });
    expect((await world.stored(1, 'v9'))?.deleted).toBe(true);
  });

  it('[SRV-12] merges foreign rows by difference with their shadow; an echo gets no version', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const row = (fields: Record<number, string>, modifiedOn: number) =>
      ({
        kind: 'foreign',
        backend: 'crm',
        rows: [{ table: 1, id: 'v1', fields, modifiedOn }],
      }) as const;
    await world.give(row({ 1: 'north', 6: 'abc' }, 1));
    const base = await world.base(1, 'v1');
    await world.give(a.send({ ...visit, kind: 'update', base, set: set({ 6: ['abc', 'dev'] }) }));
    const { n } = world.fold.state();
    await world.give(row({ 1: 'north', 6: 'abc' }, 2));
    expect(world.fold.state().n).toBe(n);
    await world.give(row({ 1: 'south', 6: 'abc' }, 3));
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'south', 6: 'dev' });
  });

  it('[SRV-13] puts an additive customization in force and refuses a destructive one', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const [visits, notes] = testTables;
    if (visits === undefined || notes === undefined) throw new Error('tables');
    await world.give({ kind: 'customization', by: 'admin', json: customizationOf(2, [visits]) });
    expect(world.fold.state().customizationVersion).toBe(1);
    const more = { ...notes, id: 3, name: 'more' };
    const json = customizationOf(3, [visits, notes, more]);
    const early = a.write({ table: 3, record: 'm', kind: 'create', set: set({ 2: [null, 'x'] }) });
    await world.append({ kind: 'customization', by: 'admin', json }, a.envelope(early));
    await world.fold.advance();
    expect(world.fold.state().customizationVersion).toBe(3);
    expect(await world.fields(3, 'm')).toEqual({ 2: 'x' });
    const again = await world.again();
    await again.fold.advance();
    expect(again.fold.state()).toEqual(world.fold.state());
    const reopened = world.fold.schema().tablesByName.get('more');
    expect(reopened?.id).toBe(3);
  });

  it('[SRV-14] asks the hook, which sees what the transaction would meet', async () => {
    const world = await FoldWorld.open({
      validate: async (transaction, view) => {
        const [op] = transaction.operations;
        const before = op && (await view.get(op.table, op.record));
        return before?.['area'] === 'closed' ? 'the area is closed' : undefined;
      },
    });
    const a = await world.enrol('a', 'user-1');
    a.write({ ...visit, kind: 'create', set: set({ 1: [null, 'closed'] }) });
    a.write({ ...visit, kind: 'update', prev: 1, set: set({ 6: [null, 'x'] }) });
    await world.give(a.envelope());
    expect(await world.fields(1, 'v1')).toEqual({ 1: 'closed' });
    expect((await world.syncErrors())[0]).toMatchObject({
      kind: 'rejected',
      message: 'the area is closed',
    });
  });

  it('[SRV-14] keeps of a message what a sync error can carry, well-formed', async () => {
    let message: unknown = '';
    const world = await FoldWorld.open({ validate: () => message as string });
    const a = await world.enrol('a', 'user-1');
    const shown = async (given: unknown): Promise<string | undefined> => {
      message = given;
      const record = `v${(await world.syncErrors()).length}`;
      await world.give(a.send({ ...visit, record, kind: 'create', set: set({ 1: [null, 'x'] }) }));
      return (await world.syncErrors()).at(-1)?.message;
    };
    const whole = 'm'.repeat(hookMessageMax - 1);
    expect(await shown(`${whole}😀`)).toBe(whole);
    expect(await shown(`${whole}é${'é'.repeat(1_000_000)}`)).toBe(`${whole}é`);
    expect(await shown('a\ud800b')).toBe('a�b');
  });

  it('[SRV-15] takes nothing but nothing for consent: an answer of another form stops it', async () => {
    const answers: readonly unknown[] = [false, {}, { message: undefined }, { reason: 'no' }, 7];
    for (const answer of answers) {
      const world = await FoldWorld.open({ validate: () => answer as undefined });
      const a = await world.enrol('a', 'user-1');
      await world.append(create(a));
      await expect(world.fold.advance()).rejects.toMatchObject({ code: 'hook-failed' });
    }
  });

  it('[SRV-15] stops, too, when the hook goes on after a record that cannot be read', async () => {
    const world = await FoldWorld.open({
      validate: async (_transaction, { get }) => {
        await get('visits', 'v9').catch(() => null);
        return undefined;
      },
    });
    const a = await world.enrol('a', 'user-1');
    const patch = { kind: 'upsert', table: 1, id: 'v9', fields: { 1: 'x' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    const [stored] = await world.store.getRecords(1, ['v9']);
    const state = await world.store.readState();
    if (stored === undefined || state === undefined) throw new Error('the record is there');
    const damaged = { table: 1, record: { ...stored, row: Uint8Array.of(1, 2, 3) } };
    await world.store.commit(
      { state, records: [damaged], prune: [], feed: [], ledger: [], entries: [] },
      'os',
    );
    await world.append(create(a));
    await expect(world.fold.advance()).rejects.toMatchObject({ code: 'storage-damaged' });
  });

  it('[SRV-15] stops before the transaction when the hook throws, and goes on when it is mended', async () => {
    let broken = true;
    const world = await FoldWorld.open({
      validate: () => {
        if (broken) throw new Error('bug');
        return undefined;
      },
    });
    const a = await world.enrol('a', 'user-1');
    await world.append(create(a));
    const before = world.fold.state();
    await expect(world.fold.advance()).rejects.toMatchObject({ code: 'hook-failed' });
    expect(world.fold.state()).toBe(before);
    broken = false;
    await world.fold.advance();
    expect((await world.replica('a'))?.mergedTo).toBe(1);
  });

  it('[SRV-16] starts an incarnation only where its own state stands', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    const { position, digest, incarnation } = world.fold.state();
    const entry = {
      kind: 'incarnation',
      incarnation: incarnation + 1,
      position,
      digest,
      checkpoint: null,
      lastGood: { ...position, hash: '' },
    } as const;
    await world.input.startGeneration(
      { generation: position.generation, last: position.seq },
      encodeInputEntry(entry),
    );
    const behind = await world.again();
    const { n } = await world.fold.advance();
    expect(world.fold.state()).toMatchObject({ incarnation: 2, n });
    const base = await world.base(1, 'v1');
    await world.give(a.send({ ...visit, kind: 'update', base, set: set({ 6: [null, 'x'] }) }));
    expect((await world.stored(1, 'v1'))?.row.version).toEqual({ incarnation: 2, n: n + 1 });
    await behind.fold.advance();
    expect(behind.fold.state()).toEqual(world.fold.state());
  });
});

describe('feed and ledger', () => {
  it('[SRV-18] rewinds a record to every earlier version', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    const seen: { n: number; row: unknown }[] = [];
    const note = async () => {
      const found = await world.stored(1, 'v1');
      const row = found === undefined || found.deleted ? undefined : found.row;
      seen.push({ n: world.fold.state().n, row });
    };
    await note();
    await world.give(create(a));
    await note();
    const base = await world.base(1, 'v1');
    await world.give(a.send({ ...visit, kind: 'update', base, inc: [{ field: 3, by: 2 }] }));
    await note();
    const edit = { 1: ['north', 'south'], 4: [null, 9] } as const;
    await world.give(a.send({ ...visit, kind: 'update', base, prev: 1, set: set(edit) }));
    await note();
    await world.give(a.send({ ...visit, kind: 'delete', base, prev: 1 }));
    await note();
    await world.give(a.send({ ...visit, kind: 'create', prev: 1, set: set({ 1: [null, 'w'] }) }));
    await note();
    const current = seen[seen.length - 1]?.row;
    for (const { n, row } of seen) {
      const segments = await world.store.scanSegments('feed', {
        incarnation: 1,
        after: n,
        upTo: 1e9,
        maxBytes: 1e9,
      });
      const entries = segments
        .filter(({ table }) => table === 1)
        .flatMap(({ bytes }) => decodeFeedSegment(bytes).entries());
      expect(rewindRow(current as never, entries)?.row).toEqual(row);
    }
  });

  it('[SRV-19] outlines the scope keys before and after, and the records', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    const { n } = world.fold.state();
    const base = await world.base(1, 'v1');
    await world.give(
      a.send({ ...visit, kind: 'update', base, set: set({ 1: ['north', 'south'] }) }),
    );
    const range = { incarnation: 1, after: n, upTo: 1e9, maxBytes: 1e9 };
    const stored = (await world.store.scanOutlines(range)).filter(({ table }) => table === 1);
    expect(stored).toHaveLength(1);
    const outline = new FeedOutline(stored[0]?.outline ?? new Uint8Array(0));
    const keys = ['north', 'south', 'west', null, ''].map((key) =>
      outline.mayConcern(hashOfScopeKey(key)),
    );
    expect(keys).toEqual([true, true, false, false, false]);
    expect(outline.mayChange([hashOfId('v1')])).toBe(true);
    expect(outline.mayChange([hashOfId('v2'), hashOfId('v0')])).toBe(false);
    const [segment] = await world.store.getFeedSegments(1, stored);
    expect(segment?.bytes.length).toBe(stored[0]?.bytes);
    expect(segment && decodeFeedSegment(segment.bytes).header).toMatchObject({
      table: 1,
      count: 1,
    });
  });

  it('[SRV-20] explains every decision with both sides', async () => {
    const world = await FoldWorld.open();
    const a = await world.enrol('a', 'user-1');
    await world.give(create(a));
    const base = await world.base(1, 'v1');
    const patch = { kind: 'patch', table: 1, id: 'v1', fields: { 1: 'server' } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
    await world.give(
      a.send({ ...visit, kind: 'update', base, set: set({ 1: ['north', 'mine'] }) }),
    );
    const segments = await world.store.scanSegments('ledger', {
      incarnation: 1,
      after: 0,
      upTo: 1e9,
      maxBytes: 1e9,
    });
    const entries = segments.flatMap(({ bytes }) => decodeLedgerSegment(bytes).entries());
    expect(entries.find(({ op }) => op === 'a/1/2')).toMatchObject({
      user: 'user-1',
      record: 'v1',
      outcome: 'superseded',
      decider: 'merge',
      fields: [
        {
          field: 1,
          base: 'north',
          theirs: 'server',
          ours: 'mine',
          result: 'server',
          rule: 'server-wins',
        },
      ],
    });
    const created = entries.find(({ op }) => op === 'a/1/1');
    expect(created).toMatchObject({
      outcome: 'applied',
      fields: [{ field: 0, ours: true, result: true, outcome: 'applied' }],
    });
  });
});
