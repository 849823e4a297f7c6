import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { NatsConnection } from '@nats-io/nats-core';
import { headers } from '@nats-io/nats-core';
import { decodeEnvelope, encodeEnvelope, utf8Decode, utf8Encode } from '@tidemark/model';
import {
  natsTransport,
  openReplica,
  systemClock,
  systemEntropy,
  systemTimer,
  type NatsPlace,
  type NatsTransport,
} from '@tidemark/node';
import { openSignedCall } from '@tidemark/protocol';
import {
  connectServer,
  createNatsKeys,
  defineSchema,
  deviceCredential,
  field,
  natsAuthConf,
  natsClaims,
  openServer,
  pushClaims,
  serverCredential,
  systemCredential,
  type NatsKeys,
  type NatsServerConnection,
  type Server,
  type ServerEvent,
} from '@tidemark/server';
import { webSocketTransport } from '@tidemark/transport-nats';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NatsServer } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';
import { through } from './through.js';

const schema = defineSchema({
  version: 1,
  tables: { things: { id: 1, fields: { name: field.string(1, { required: true }) } } },
});
type Tables = NonNullable<(typeof schema)['_tables']>;

const tenant = 'acme';

/** A device of the tenant, what it sent, and a bare connection with its credential. */
interface Device {
  readonly name: string;
  readonly replica: Awaited<ReturnType<typeof openReplica<typeof schema>>>;
  readonly place: NatsPlace;
  readonly raw: NatsConnection;
  readonly errors: string[];
  readonly envelopes: Uint8Array[];
  readonly calls: { readonly endpoint: string; readonly body: Uint8Array }[];
}

const waitMsMax = 10_000;

describeOnNats('what a credential can do, and nothing else', () => {
  let nats: NatsServer;
  let folder = '';
  let keys: NatsKeys;
  let server: Server<Tables>;
  let aheadMs = 0;
  const events: ServerEvent[] = [];
  const connections: NatsServerConnection[] = [];
  const closers: (() => Promise<unknown>)[] = [];
  let ann: Device;
  let bob: Device;

  const placeOf = (credentials: string, device?: string): NatsPlace => ({
    servers: [nats.url],
    credentials,
    ...(device === undefined ? {} : { device }),
  });

  const connectAs = async (place: NatsPlace): Promise<NatsConnection> => {
    const connection = await connectServer(place, systemEntropy);
    connections.push(connection);
    return connection.core;
  };

  const openDevice = async (
    name: string,
    user: string,
    transportOf: (place: NatsPlace) => NatsTransport = natsTransport,
  ): Promise<Device> => {
    const { credentials } = await deviceCredential(keys, { tenant, device: name });
    const place = placeOf(credentials, name);
    const { token } = await server.identities.createToken({ user, device: name, by: 'operator' });
    const transport = transportOf(place);
    const envelopes: Uint8Array[] = [];
    const calls: { readonly endpoint: string; readonly body: Uint8Array }[] = [];
    const replica = await openReplica({
      folder: path.join(folder, name),
      tenant,
      user,
      schema,
      receiptKeys: server.identities.receiptKeys,
      credentials: () => Promise.resolve({ token }),
      transport: through(transport, {
        publish: (link, bytes) => {
          envelopes.push(bytes.slice());
          return link.publish(bytes);
        },
        request: (link, endpoint, body, signal) => {
          calls.push({ endpoint, body: body.slice() });
          return link.request(endpoint, body, signal);
        },
      }),
    });
    closers.push(async () => {
      await replica.close();
      await transport.disconnect();
    });
    const raw = await connectAs(place);
    const errors: string[] = [];
    void (async () => {
      for await (const status of raw.status())
        if (status.type === 'error') errors.push(status.error.message);
    })();
    return { name, replica, place, raw, errors, envelopes, calls };
  };

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tidemark-attempts-'));
    keys = createNatsKeys();
    nats = await NatsServer.start(
      natsAuthConf(await natsClaims(keys, {}), path.join(folder, 'jwt')),
    );
    server = await openServer({
      folder: path.join(folder, 'server'),
      tenant,
      schema,
      identities: 'required',
      nats: { connection: placeOf((await serverCredential(keys)).credentials) },
      clock: { nowMs: () => Date.now() + aheadMs },
      onEvent: (event) => events.push(event),
    });
    ann = await openDevice('tablet-a', 'ann');
    bob = await openDevice('tablet-b', 'bob');
    for (const { replica } of [ann, bob]) {
      await replica.create('things', { name: `of ${replica.status.replica}` });
      expect((await replica.sync()).result).toBe('synced');
    }
  }, 60_000);
  afterAll(async () => {
    for (const close of closers) await close();
    await server.close();
    for (const connection of connections) await connection.close();
    await nats.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const idOf = ({ replica }: Device): string => replica.status.replica;
  const seqNow = (): number => server.status().state.position.seq;
  const versionNow = (): number => server.status().state.n;
  const quarantined = (): string[] =>
    events.flatMap((event) => (event.type === 'quarantined' ? [event.reason] : []));

  /** Publishes with a device's credential; resolves once NATS has seen it. */
  const publish = async (
    by: Device,
    subject: string,
    bytes: Uint8Array,
    more: { readonly reply?: string; readonly user?: string } = {},
  ): Promise<void> => {
    const named = headers();
    named.set('Tidemark-User', more.user ?? 'ann');
    const { reply } = more;
    by.raw.publish(subject, bytes, { headers: named, ...(reply === undefined ? {} : { reply }) });
    await by.raw.flush();
  };

  const ops = (device: Device, replica: string): string =>
    `tm.acme.ops.1.${device.name}.${replica}`;
  const nothing = utf8Encode('x');

  test('[IDN-60] it can all that it must: upload, download, hear live of what others did', async () => {
    ann.replica.connect();
    bob.replica.connect();
    const made = await ann.replica.create('things', { name: 'live' });
    const seen = async (): Promise<unknown> => (await bob.replica.get('things', made))?.name;
    await expect.poll(seen, { timeout: waitMsMax }).toBe('live');
    await ann.replica.disconnect();
    await bob.replica.disconnect();
    expect(ann.errors).toEqual([]);
    expect(quarantined()).toEqual([]);
  });

  test('[IDN-60] so it can over WebSocket', async () => {
    const effects = { clock: systemClock, timer: systemTimer, entropy: systemEntropy };
    const web = await openDevice('tablet-w', 'wim', (place) =>
      webSocketTransport({ ...place, ...effects, servers: [nats.webSocketUrl] }),
    );
    const made = await web.replica.create('things', { name: 'from a browser' });
    expect((await web.replica.sync()).result).toBe('synced');
    expect(await server.get('things', made)).toMatchObject({ name: 'from a browser' });
    expect(quarantined()).toEqual([]);
  });

  test('[IDN-61] NATS refuses to publish anywhere else', async () => {
    const [other, position] = [idOf(bob), seqNow()];
    const attempts = [
      ops(bob, other),
      `tm.acme.ask.resume.${bob.name}.${other}`,
      `tm.acme.ask.hello.-.${other}`,
      'tm.acme.in.1.entry',
      'tm.acme.in.1.end',
      'tm.acme.tick',
      'tm.other.ops.1.tablet-a.x',
      `_INBOX.${bob.name}.forged`,
      '_INBOX.any',
      '$JS.API.INFO',
      '$JS.API.STREAM.INFO.OPS-acme-1',
      '$JS.API.STREAM.DELETE.OPS-acme-1',
      '$JS.API.STREAM.PURGE.OPS-acme-1',
      '$JS.API.STREAM.MSG.GET.OPS-acme-1',
      '$JS.API.CONSUMER.CREATE.OPS-acme-1',
      '$JS.API.STREAM.CREATE.KV_any',
      '$KV.any.key',
      '$SYS.REQ.CLAIMS.UPDATE',
    ];
    for (const subject of attempts) {
      const before = ann.errors.length;
      await publish(ann, subject, nothing);
      await expect.poll(() => ann.errors.length, { timeout: waitMsMax }).toBe(before + 1);
      expect(ann.errors.at(-1)).toContain(`Permissions Violation for Publish to "${subject}"`);
    }
    await server.settle();
    expect(seqNow()).toBe(position);
  });

  test('[IDN-61] NATS refuses to listen anywhere else', async () => {
    const attempts = [
      '>',
      'tm.>',
      'tm.acme.ops.>',
      'tm.acme.in.1.entry',
      'tm.acme.ask.*.*.*',
      `tm.acme.ask.*.${bob.name}.*`,
      '_INBOX.>',
      `_INBOX.${bob.name}.>`,
      '$JS.>',
      '$KV.>',
      '$SYS.>',
      'tm.other.tick',
    ];
    for (const subject of attempts) {
      const refusal = await new Promise<string>((resolve, reject) => {
        ann.raw.subscribe(subject, {
          callback: (error, message) => {
            if (error === null) reject(new Error(`it heard ${message.subject}`));
            else resolve(error.message);
          },
        });
      });
      expect(refusal).toContain(`Permissions Violation for Subscription to "${subject}"`);
    }
  });

  test("[IDN-62] answers directed onto others' subjects move nothing", async () => {
    const before = versionNow();
    const ownOps = ops(ann, idOf(ann));
    const told = quarantined().length;
    // JetStream's word goes where its asker says, also where the asker may not publish itself.
    for (const reply of ['tm.acme.in.1.entry', 'tm.acme.in.1.end', ops(bob, idOf(bob))])
      await publish(ann, ownOps, nothing, { reply });
    await expect.poll(() => quarantined().length, { timeout: waitMsMax }).toBe(told + 6);
    // A server with all its rights does not answer there at all.
    const position = seqNow();
    for (const reply of ['tm.acme.in.1.entry', ops(bob, idOf(bob)), `_INBOX.${bob.name}.x`])
      await publish(ann, `tm.acme.ask.hello.${ann.name}.${idOf(ann)}`, nothing, { reply });
    const asked = await ann.raw.request(`tm.acme.ask.hello.${ann.name}.${idOf(ann)}`, nothing);
    expect(utf8Decode(asked.data)).toContain('generation');
    await server.settle();
    expect(seqNow()).toBe(position);
    expect(versionNow()).toBe(before);
    expect(server.status().state.position.generation).toBe(1);
    await bob.replica.create('things', { name: 'still' });
    expect((await bob.replica.sync()).result).toBe('synced');
  });

  test("[IDN-63] another's envelope, an unsigned and a bent one are put aside", async () => {
    const bobs = bob.envelopes.at(-1);
    const anns = ann.envelopes.at(-1);
    if (bobs === undefined || anns === undefined) throw new Error('nothing was sent');
    const opened = decodeEnvelope(anns);
    if (opened._tag === 'Left') throw new Error('no envelope');
    const envelope = opened.right;
    const next = { from: envelope.to + 1, to: envelope.to + envelope.to - envelope.from + 1 };
    const before = versionNow();
    const rows: readonly (readonly [string, Uint8Array, string, string])[] = [
      [ops(ann, idOf(bob)), bobs, 'bob', 'device'],
      [ops(ann, idOf(ann)), bobs, 'ann', 'identity'],
      [ops(ann, idOf(ann)), bobs, 'bob', 'identity'],
      [
        ops(ann, 'nobody'),
        encodeEnvelope({ ...envelope, replica: 'nobody' }),
        'ann',
        'unknown-replica',
      ],
      [ops(ann, idOf(ann)), encodeEnvelope({ ...envelope, signature: '' }), 'ann', 'unsigned'],
      [ops(ann, idOf(ann)), encodeEnvelope({ ...envelope, ...next }), 'ann', 'signature'],
      [ops(ann, idOf(ann)), encodeEnvelope({ ...envelope, user: 'bob' }), 'bob', 'user'],
    ];
    for (const [subject, bytes, user, reason] of rows) {
      const told = quarantined().length;
      await publish(ann, subject, bytes, { user });
      await expect.poll(() => quarantined().length, { timeout: waitMsMax }).toBe(told + 1);
      expect(quarantined().at(-1)).toBe(reason);
    }
    expect(versionNow()).toBe(before);
    // The same envelope once more under its own name is a duplicate, and nothing else.
    const { duplicates } = server.status().state.counts;
    await publish(ann, ops(ann, idOf(ann)), anns);
    await expect
      .poll(() => server.status().state.counts.duplicates, { timeout: waitMsMax })
      .toBe(duplicates + 1);
    expect(versionNow()).toBe(before);
  });

  test("[IDN-64] another's call, and an old one of its own, are refused", async () => {
    const call = (device: Device) => {
      const found = device.calls
        .filter(
          ({ endpoint, body }) => endpoint === 'resume' && openSignedCall(body).proof !== null,
        )
        .at(-1);
      if (found === undefined) throw new Error('nothing was signed');
      return found.body;
    };
    const ask = async (replica: string, user: string, body: Uint8Array): Promise<string> => {
      const named = headers();
      named.set('Tidemark-User', user);
      const subject = `tm.acme.ask.resume.${ann.name}.${replica}`;
      const answer = await ann.raw.request(subject, body, { headers: named, timeout: waitMsMax });
      const code = answer.headers?.get('Tidemark-Error') ?? '';
      if (code === '') return 'answered';
      const { details } = JSON.parse(utf8Decode(answer.data)) as { details?: { reason?: string } };
      return `${code} ${details?.reason ?? ''}`.trim();
    };
    expect(await ask(idOf(ann), 'ann', call(ann))).toBe('answered');
    expect(await ask(idOf(bob), 'bob', call(bob))).toBe('denied');
    expect(await ask(idOf(ann), 'ann', call(bob))).toBe('unauthenticated challenge');
    expect(await ask(idOf(ann), 'bob', call(ann))).toBe('denied');
    aheadMs = 11 * 60_000;
    expect(await ask(idOf(ann), 'ann', call(ann))).toBe('unauthenticated challenge');
    aheadMs = 0;
  });

  test('[IDN-65] a revoked device is refused by the fold, by servers and by NATS, and its connection ends', async () => {
    const { credentials, publicKey } = await deviceCredential(keys, { tenant, device: 'tablet-c' });
    const place = placeOf(credentials, 'tablet-c');
    const wanted = { user: 'eve', device: 'tablet-c', by: 'operator' };
    const { token } = await server.identities.createToken(wanted);
    const transport = natsTransport(place);
    const kept: Uint8Array[] = [];
    let isHeld = false;
    const replica = await openReplica({
      folder: path.join(folder, 'tablet-c'),
      tenant,
      user: 'eve',
      schema,
      credentials: () => Promise.resolve({ token }),
      transport: through(transport, {
        publish: (link, bytes) => {
          if (!isHeld) return link.publish(bytes);
          kept.push(bytes.slice());
          return Promise.resolve();
        },
      }),
    });
    closers.push(async () => {
      await replica.close();
      await transport.disconnect();
    });
    expect((await replica.sync()).result).toBe('synced');
    isHeld = true;
    await replica.create('things', { name: 'too late' });
    await replica.sync({ mode: 'background' });
    const [envelope] = kept;
    if (envelope === undefined) throw new Error('nothing was sent');
    const raw = await connectAs(place);
    let cuts = 0;
    void (async () => {
      for await (const status of raw.status()) if (status.type === 'disconnect') cuts += 1;
    })();
    await server.identities.revoke({ of: 'device', id: 'tablet-c', by: 'operator' });
    const before = versionNow();
    const named = headers();
    named.set('Tidemark-User', 'eve');
    const subject = `tm.acme.ops.1.tablet-c.${replica.status.replica}`;
    raw.publish(subject, envelope, { headers: named });
    await expect.poll(() => quarantined().at(-1), { timeout: waitMsMax }).toBe('revoked');
    expect(versionNow()).toBe(before);
    expect(await replica.sync()).toMatchObject({ result: 'blocked', error: 'revoked' });

    const since = Math.floor(Date.now() / 1_000);
    const system = placeOf((await systemCredential(keys)).credentials);
    await pushClaims(system, await natsClaims(keys, { [publicKey]: since }));
    await expect.poll(() => cuts, { timeout: waitMsMax }).toBeGreaterThan(0);
    await expect
      .poll(
        () =>
          connectServer(place, systemEntropy).then(
            () => 'let in',
            (cause: { code?: string }) => cause.code,
          ),
        { timeout: waitMsMax },
      )
      .toBe('denied');
    expect((await replica.sync()).result).not.toBe('synced');
    expect(replica.status.pending.operations).toBe(1);
    // The others go on.
    await ann.replica.create('things', { name: 'after' });
    expect((await ann.replica.sync()).result).toBe('synced');
  });
});
