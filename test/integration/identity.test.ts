import { cpSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { closeAll, closers, names, openDevice, openWorld, tokenFor } from './identity-world.js';
import { through } from './through.js';

afterEach(closeAll);

describe('identities in one process', () => {
  test('[IDN-10] a tenant is open until it demands identities, and then it never is again', async () => {
    const world = await openWorld();
    const before = await openDevice(world, 'before');
    await before.replica.create('things', { name: 'unsigned' });
    expect((await before.replica.sync()).result).toBe('synced');
    expect(world.server.identities.required()).toBe(false);
    await world.server.identities.require('operator');
    await before.replica.create('things', { name: 'later' });
    expect(await before.replica.sync()).toMatchObject({
      result: 'blocked',
      error: 'unauthenticated',
    });
    expect(await names(world)).toEqual(['unsigned']);
    await closers.pop()?.();
    await closers.pop()?.();
    const again = await openWorld({ folder: world.folder });
    expect(again.server.identities.required()).toBe(true);
  });

  test('[IDN-20] a one-time token enrols one replica; what was edited before goes up signed', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    const { replica, events } = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
    });
    await replica.create('things', { name: 'one' });
    expect((await replica.sync()).result).toBe('synced');
    expect(await names(world)).toEqual(['one']);
    expect(events).toContainEqual({
      type: 'enrolled',
      replica: replica.status.replica,
      user: 'ann',
      device: 'tablet-1',
    });
    const [enrolled] = await world.server.identities.list();
    expect(enrolled).toMatchObject({
      user: 'ann',
      device: 'tablet-1',
      state: 'live',
      origin: null,
    });
    expect(enrolled?.publicKey).toMatch(/^[0-9a-f]{64}$/);
    if (process.platform !== 'win32')
      expect(statSync(path.join(world.folder, 'a', 'replica.key')).mode & 0o777).toBe(0o600);

    const second = await openDevice(world, 'b', { token: () => Promise.resolve(token) });
    expect(await second.replica.sync()).toMatchObject({
      result: 'blocked',
      error: 'unauthenticated',
    });
    expect(second.replica.status.connection).toBe('needs-auth');
    expect(await world.server.identities.list()).toHaveLength(1);
  });

  test('[IDN-21] of two devices that race with one token exactly one is enrolled', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    const devices = await Promise.all(
      ['a', 'b', 'c'].map((name) =>
        openDevice(world, name, { token: () => Promise.resolve(token) }),
      ),
    );
    const results = await Promise.all(devices.map(({ replica }) => replica.sync()));
    expect(results.map(({ result }) => result).sort()).toEqual(['blocked', 'blocked', 'synced']);
    expect(await world.server.identities.list()).toHaveLength(1);
  });

  test('[IDN-21] an answer that was lost, and a server started again, do not spend the token twice', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    let lost = 0;
    const losing = through(world.server.transport, {
      request: async (link, endpoint, body, signal) => {
        const answer = await link.request(endpoint, body, signal);
        if (endpoint !== 'enroll' || answer.length === 0) return answer;
        lost += 1;
        throw Object.assign(new Error('lost'), { name: 'lost' });
      },
    });
    const first = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
      transport: losing,
    });
    await first.replica.create('things', { name: 'kept' });
    await expect(first.replica.sync()).rejects.toThrow('lost');
    expect(lost).toBe(1);
    await closers.pop()?.();
    await closers.pop()?.();
    const again = await openWorld({ folder: world.folder });
    const second = await openDevice(again, 'a', { token: () => Promise.resolve(token) });
    expect((await second.replica.sync()).result).toBe('synced');
    expect(await names(again)).toEqual(['kept']);
  });

  test('[IDN-22] a token is refused when it is too old, of another user, or unknown', async () => {
    let nowMs = Date.now();
    const world = await openWorld({ identities: 'required', nowMs: () => nowMs });
    const token = await tokenFor(world, 'tablet-1', 'ann', 1_000);
    const bobs = await tokenFor(world, 'tablet-2', 'bob');
    nowMs += 2_000;
    for (const [name, bad] of [
      ['late', token],
      ['others', bobs],
      ['unknown', `tmk1_${'0'.repeat(64)}`],
      ['none', 'x'.repeat(20_000)],
    ] as const) {
      const { replica } = await openDevice(world, name, { token: () => Promise.resolve(bad) });
      expect(await replica.sync()).toMatchObject({ result: 'blocked', error: 'unauthenticated' });
    }
    expect(await world.server.identities.list()).toEqual([]);
    // What is stored of a token is its hash.
    const bytes = readFolder(path.join(world.folder, 'server'));
    expect(bytes.includes(bobs)).toBe(false);
    for (const wanted of [{ ttlMs: 0 }, { device: '-' }, { user: '' }, { device: 'a.b' }])
      await expect(
        world.server.identities.createToken({ user: 'u', device: 'd', by: 'operator', ...wanted }),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^invalid-(option|id)$/) as unknown });
  });

  test('[IDN-23] credentials that come late start sync by themselves; edits go on meanwhile', async () => {
    const world = await openWorld({ identities: 'required' });
    let answer: (token: string) => void = () => undefined;
    let asked = 0;
    const { replica, events } = await openDevice(world, 'a', {
      token: () =>
        new Promise((resolve) => {
          asked += 1;
          answer = resolve;
        }),
    });
    await replica.create('things', { name: 'before' });
    replica.connect();
    await expect.poll(() => replica.status.connection, { timeout: 15_000 }).toBe('needs-auth');
    await replica.create('things', { name: 'meanwhile' });
    expect(replica.status.pending.operations).toBe(2);
    expect(events.filter(({ type }) => type === 'needs-auth')).toHaveLength(1);
    answer(await tokenFor(world, 'tablet-1'));
    await expect.poll(() => replica.status.synced, { timeout: 15_000 }).toBe(true);
    expect(replica.status.connection).toBe('online');
    expect(await names(world)).toEqual(['before', 'meanwhile']);
    expect(asked).toBe(1);
  });

  test('[IDN-24] the hook of the embedder says who a token stands for', async () => {
    const asked: unknown[] = [];
    const world = await openWorld({
      identities: 'required',
      authenticate: (token, about) => {
        asked.push(about);
        if (token === 'broken') return Promise.reject(new Error('the directory is away'));
        return Promise.resolve(token === 'for ann' ? { user: 'ann' } : null);
      },
    });
    const good = await openDevice(world, 'a', { token: () => Promise.resolve('for ann') });
    expect((await good.replica.sync()).result).toBe('synced');
    for (const [name, user, token] of [
      ['b', 'bob', 'for ann'],
      ['c', 'ann', 'something'],
    ] as const) {
      const { replica } = await openDevice(world, name, {
        user,
        token: () => Promise.resolve(token),
      });
      expect(await replica.sync()).toMatchObject({ result: 'blocked', error: 'unauthenticated' });
    }
    expect(asked).toHaveLength(3);
    const away = await openDevice(world, 'd', { token: () => Promise.resolve('broken') });
    expect(await away.replica.sync()).toMatchObject({ result: 'failed', error: 'unreachable' });
    expect(away.replica.status.connection).toBe('offline');
    expect(asked[0]).toEqual({
      tenant: 'acme',
      replica: good.replica.status.replica,
      device: null,
    });
    expect(await world.server.identities.list()).toHaveLength(1);
  });

  test('[IDN-25] a copy of the folder takes a new id with the key of the old one, and no token', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    const first = await openDevice(world, 'a', { token: () => Promise.resolve(token) });
    await first.replica.create('things', { name: 'shared' });
    expect((await first.replica.sync()).result).toBe('synced');
    const old = first.replica.status.replica;
    await closers.pop()?.();
    cpSync(path.join(world.folder, 'a'), path.join(world.folder, 'copy'), { recursive: true });
    // The original goes on: its epoch is renewed when its database is older than its marker, or stays.
    const original = await openDevice(world, 'a');
    await original.replica.create('things', { name: 'original' });
    expect((await original.replica.sync()).result).toBe('synced');
    const copy = await openDevice(world, 'copy');
    await copy.replica.create('things', { name: 'copied' });
    const results = [
      await copy.replica.sync(),
      await original.replica.sync(),
      await copy.replica.sync(),
    ];
    expect(results.map(({ error }) => error)).toEqual([null, null, null]);
    expect(await names(world)).toEqual(['copied', 'original', 'shared']);
    const ids = [original, copy].map(({ replica }) => replica.status.replica);
    expect(new Set([old, ...ids]).size).toBe(2);
    const enrolled = await world.server.identities.list();
    expect(enrolled).toHaveLength(2);
    expect(enrolled.find(({ origin }) => origin !== null)).toMatchObject({
      origin: old,
      device: 'tablet-1',
      user: 'ann',
    });
  });
});

const readFolder = (folder: string): string => {
  let text = '';
  const walk = (at: string): void => {
    for (const entry of statSync(at).isDirectory() ? readdirSync(at) : []) {
      const file = path.join(at, entry);
      if (statSync(file).isDirectory()) walk(file);
      else text += readFileSync(file, 'latin1');
    }
  };
  walk(folder);
  return text;
};
