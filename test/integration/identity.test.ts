import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  openReplica,
  systemTimer,
  type ReplicaEvent,
  type Timer,
  type Transport,
} from '@tidemark/node';
import { decodeEnvelope, encodeEnvelope, type TypedSchema } from '@tidemark/model';
import type { Link } from '@tidemark/ports';
import { decodeMessage, encodeMessage, openSignedCall } from '@tidemark/protocol';
import {
  defineSchema,
  field,
  openServer,
  type AuthenticateHook,
  type Server,
  type ServerEvent,
} from '@tidemark/server';
import { afterEach, describe, expect, test } from 'vitest';
import { through } from './through.js';

const schema = defineSchema({
  version: 1,
  tables: { things: { id: 1, fields: { name: field.string(1, { required: true }) } } },
});
type TheServer = Server<typeof schema extends TypedSchema<infer T> ? T : never>;

/** Pauses are short, so that what waits for nobody is soon over. */
const quick: Timer = { sleep: (ms, signal) => systemTimer.sleep(Math.min(ms, 50), signal) };

const folders: string[] = [];
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const newFolder = (): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tm-identity-'));
  folders.push(folder);
  return folder;
};

interface World {
  readonly folder: string;
  readonly server: TheServer;
  readonly events: ServerEvent[];
}

const openWorld = async (
  options: {
    readonly folder?: string;
    readonly authenticate?: AuthenticateHook;
    readonly identities?: 'required';
    readonly nowMs?: () => number;
  } = {},
): Promise<World> => {
  const events: ServerEvent[] = [];
  const { folder = newFolder(), nowMs, ...rest } = options;
  const server = await openServer({
    folder: path.join(folder, 'server'),
    tenant: 'acme',
    schema,
    onEvent: (event) => events.push(event),
    ...(nowMs === undefined ? {} : { clock: { nowMs } }),
    ...rest,
  });
  closers.push(() => server.close());
  return { folder, server, events };
};

const openDevice = async (
  world: World,
  name: string,
  options: {
    readonly token?: () => Promise<string>;
    readonly transport?: Transport;
    readonly user?: string;
    readonly receiptKeys?: readonly string[];
  } = {},
) => {
  const events: ReplicaEvent[] = [];
  const { token, receiptKeys } = options;
  const replica = await openReplica({
    folder: path.join(world.folder, name),
    tenant: 'acme',
    user: options.user ?? 'ann',
    schema,
    timer: quick,
    transport: options.transport ?? world.server.transport,
    onEvent: (event) => events.push(event),
    ...(token === undefined ? {} : { credentials: async () => ({ token: await token() }) }),
    ...(receiptKeys === undefined ? {} : { receiptKeys }),
  });
  closers.push(() => replica.close());
  return { replica, events };
};

const tokenFor = async (world: World, device: string, user = 'ann', ttlMs = 60_000) =>
  (await world.server.identities.createToken({ user, device, ttlMs, by: 'operator' })).token;

const names = async (world: World): Promise<readonly string[]> => {
  await world.server.settle();
  return (await world.server.query('things')).map(({ name }) => name).sort();
};

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

  test('[IDN-30] envelopes that are not signed by their replica move nothing, and are told', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    let harm: 'none' | 'unsigned' | 'bent' | 'offset' = 'unsigned';
    const transport = through(world.server.transport, {
      publish: (link, bytes) => {
        const decoded = decodeEnvelope(bytes);
        if (decoded._tag === 'Left') throw new Error('no envelope');
        const envelope = decoded.right;
        switch (harm) {
          case 'none':
            return link.publish(bytes);
          case 'unsigned':
            return link.publish(encodeEnvelope({ ...envelope, signature: '' }));
          case 'bent': {
            const first = envelope.signature.startsWith('A') ? 'B' : 'A';
            const signature = `${first}${envelope.signature.slice(1)}`;
            return link.publish(encodeEnvelope({ ...envelope, signature }));
          }
          case 'offset':
            return link.publish(encodeEnvelope({ ...envelope, offsetMs: envelope.offsetMs + 1 }));
        }
      },
    });
    const { replica } = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
      transport,
    });
    await replica.create('things', { name: 'one' });
    for (const next of ['unsigned', 'bent', 'offset'] as const) {
      harm = next;
      expect((await replica.sync({ mode: 'background' })).result).toBe('pending');
      expect(await names(world)).toEqual([]);
    }
    expect(
      world.events.flatMap((event) => (event.type === 'quarantined' ? [event.reason] : [])),
    ).toEqual(['unsigned', 'signature', 'signature']);
    expect(world.server.status().state.counts.quarantined).toBe(3);
    harm = 'none';
    expect((await replica.sync()).result).toBe('synced');
    expect(await names(world)).toEqual(['one']);
  });

  test('[IDN-31] what a revoked replica signed is refused from there on, by the fold and at each call', async () => {
    const world = await openWorld({ identities: 'required' });
    const kept: Uint8Array[] = [];
    const links: Link[] = [];
    let isKeeping = false;
    const transport = through(world.server.transport, {
      publish: (link, bytes) => {
        links.push(link);
        if (!isKeeping) return link.publish(bytes);
        kept.push(bytes.slice());
        return Promise.resolve();
      },
    });
    const tokens = [await tokenFor(world, 'tablet-1'), await tokenFor(world, 'tablet-2')];
    const lost = await openDevice(world, 'lost', {
      token: () => Promise.resolve(tokens[0] ?? ''),
      transport,
    });
    const other = await openDevice(world, 'other', {
      token: () => Promise.resolve(tokens[1] ?? ''),
    });
    await lost.replica.create('things', { name: 'before' });
    expect((await lost.replica.sync()).result).toBe('synced');
    isKeeping = true;
    lost.replica.connect();
    await lost.replica.create('things', { name: 'signed before, arrives after' });
    await expect.poll(() => kept.length, { timeout: 10_000 }).toBeGreaterThan(0);
    await world.server.identities.revoke({ of: 'device', id: 'tablet-1', by: 'operator' });
    for (const bytes of kept.slice(0, 1)) await links.at(-1)?.publish(bytes);
    expect(await names(world)).toEqual(['before']);
    expect(world.events).toContainEqual(
      expect.objectContaining({ type: 'quarantined', reason: 'revoked' }),
    );
    await lost.replica.disconnect();
    expect(await lost.replica.sync()).toMatchObject({ result: 'blocked', error: 'revoked' });
    expect(lost.replica.status.pending.operations).toBe(1);
    expect((await other.replica.sync()).result).toBe('synced');
    expect(
      (await world.server.identities.list()).map(({ device, state }) => [device, state]).sort(),
    ).toEqual([
      ['tablet-1', 'revoked'],
      ['tablet-2', 'live'],
    ]);
  });

  test('[IDN-40] a call is refused when its signature is of another call, or its challenge too old', async () => {
    let nowMs = Date.now();
    const world = await openWorld({ identities: 'required', nowMs: () => nowMs });
    const token = await tokenFor(world, 'tablet-1');
    let captured: { readonly link: Link; readonly body: Uint8Array } | undefined;
    const transport = through(world.server.transport, {
      request: (link, endpoint, body, signal) => {
        if (endpoint === 'resume' && openSignedCall(body).proof !== null)
          captured = { link, body: body.slice() };
        return link.request(endpoint, body, signal);
      },
    });
    const { replica } = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
      transport,
    });
    replica.connect();
    await expect.poll(() => replica.status.synced, { timeout: 10_000 }).toBe(true);
    if (captured === undefined) throw new Error('no call was signed');
    const { link, body } = captured;
    const refusal = (endpoint: 'resume' | 'pull', bytes: Uint8Array): Promise<unknown> =>
      link.request(endpoint, bytes).then(
        () => 'answered',
        (cause: { code?: string; details?: { reason?: string } }) =>
          `${cause.code ?? ''} ${cause.details?.reason ?? ''}`,
      );
    expect(await refusal('resume', body)).toBe('answered');
    expect(await refusal('pull', body)).toBe('unauthenticated signature');
    const { body: inner } = openSignedCall(body);
    expect(await refusal('resume', inner)).toBe('unauthenticated signature-needed');
    const bent = body.slice();
    bent[bent.length - 2] = (bent.at(-2) ?? 0) ^ 1;
    expect(await refusal('resume', bent)).toBe('unauthenticated signature');
    nowMs += 11 * 60_000;
    expect(await refusal('resume', body)).toBe('unauthenticated challenge');
    // The replica itself takes the new challenge without anybody's help.
    await replica.disconnect();
    expect((await replica.sync()).result).toBe('synced');
  });

  test('[IDN-50] a receipt that the tenant did not sign is refused, and nothing is dropped by it', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    let isForging = false;
    const transport = through(world.server.transport, {
      publish: (link, bytes) => (isForging ? Promise.resolve() : link.publish(bytes)),
      request: async (link, endpoint, body, signal) => {
        const answer = await link.request(endpoint, body, signal);
        if (!isForging || endpoint !== 'resume') return answer;
        const decoded = decodeMessage('ResumeAnswer', answer);
        if (decoded._tag === 'Left') throw decoded.left;
        const { message } = decoded.right;
        const receipt = { ...message.receipt, archivedTo: 1_000, mergedTo: 1_000 };
        return encodeMessage('ResumeAnswer', { ...message, receipt });
      },
    });
    const { replica } = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
      transport,
    });
    expect((await replica.sync()).result).toBe('synced');
    isForging = true;
    await replica.create('things', { name: 'one' });
    expect(await replica.sync()).toMatchObject({ result: 'blocked', error: 'forged-receipt' });
    expect(replica.status.pending.operations).toBe(1);
    isForging = false;
    expect((await replica.sync()).result).toBe('synced');
    expect(await names(world)).toEqual(['one']);

    const more = [await tokenFor(world, 'tablet-2'), await tokenFor(world, 'tablet-3')] as const;
    const other = await openDevice(world, 'b', {
      token: () => Promise.resolve(more[0]),
      receiptKeys: ['00'.repeat(32)],
    });
    expect(await other.replica.sync()).toMatchObject({ error: 'forged-receipt' });
    const third = await openDevice(world, 'c', {
      token: () => Promise.resolve(more[1]),
      receiptKeys: world.server.identities.receiptKeys,
    });
    expect((await third.replica.sync()).result).toBe('synced');
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
