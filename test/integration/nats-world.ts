import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createFellows, type Fellows } from '@tidemark/merger';
import {
  defineSchema,
  field,
  natsTransport,
  openReplica,
  systemClock,
  systemEntropy,
  type Logger,
  type NatsTransport,
  type Replica,
} from '@tidemark/node';
import {
  connectServer,
  openServer,
  type Protocols,
  type NatsServerConnection,
  type Server,
  type ServerEvent,
  type ServerNats,
  type ValidateHook,
} from '@tidemark/server';
import { openServerTalk } from '@tidemark/transport-nats/server';
import { expect } from 'vitest';
import { NatsServer } from '../processes/nats-server.js';
import { blocksOf, cutNewestBlock, newestBlock } from '../processes/stream-damage.js';

/** Schema of these tests. */
export const schema = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1,
      fields: {
        subject: field.string(1, { required: true }),
        note: field.text(2),
        count: field.counter(3),
      },
    },
  },
});
type Tables = NonNullable<(typeof schema)['_tables']>;
/** Server of these tests. */
export type TestServer = Server<Tables>;
/** Device of these tests. */
export type TestDevice = Replica<typeof schema>;

const tenant = 'acme';
const cursorKey = new Uint8Array(32).fill(9);

/** Servers and devices of one tenant around a real nats-server. */
export class NatsWorld {
  readonly nats: NatsServer;
  readonly folder: string;
  readonly servers: TestServer[] = [];
  readonly devices: TestDevice[] = [];
  readonly events: (ServerEvent & { readonly of: string })[] = [];
  readonly listeners = new Set<(event: ServerEvent & { readonly of: string }) => void>();
  /** Codes of the steps of runs that failed. */
  readonly failures: string[] = [];
  readonly #transports: NatsTransport[] = [];
  readonly #connections: NatsServerConnection[] = [];

  private constructor(nats: NatsServer, folder: string) {
    this.nats = nats;
    this.folder = folder;
  }

  static async open(): Promise<NatsWorld> {
    const nats = await NatsServer.start();
    return new NatsWorld(nats, await mkdtemp(path.join(tmpdir(), 'tidemark-servers-')));
  }

  async close(): Promise<void> {
    for (const device of this.devices) await device.close();
    for (const transport of this.#transports) await transport.disconnect();
    for (const server of this.servers) await server.close();
    for (const connection of this.#connections) await connection.close();
    await this.nats.dispose();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Starts a server; `shared` names the folder of checkpoints that it shares with others. */
  async serve(
    name: string,
    more: Partial<ServerNats> = {},
    shared: {
      readonly checkpoints?: string | { readonly in: 'nats' };
      readonly trimInput?: boolean;
      readonly validate?: ValidateHook;
      readonly protocols?: Protocols;
    } = {},
  ): Promise<TestServer> {
    const server = await openServer({
      folder: path.join(this.folder, name),
      tenant,
      schema,
      cursorKey,
      nats: { connection: { servers: [this.nats.url], name }, ...more },
      checkpoints: {
        folder:
          typeof shared.checkpoints === 'object'
            ? shared.checkpoints
            : path.join(this.folder, shared.checkpoints ?? `${name}-checkpoints`),
        keep: 1,
        trimInput: shared.trimInput ?? more.streamBytesMax !== undefined,
      },
      ...(shared.protocols === undefined ? {} : { protocols: shared.protocols }),
      ...(shared.validate === undefined ? {} : { validate: shared.validate }),
      onEvent: (event) => {
        this.events.push({ ...event, of: name });
        for (const listener of this.listeners) listener({ ...event, of: name });
      },
    });
    this.servers.push(server);
    return server;
  }

  async end(server: TestServer): Promise<void> {
    this.servers.splice(this.servers.indexOf(server), 1);
    await server.close();
  }

  async device(name: string): Promise<TestDevice> {
    const transport = natsTransport({ servers: [this.nats.url], name });
    this.#transports.push(transport);
    const folder = path.join(this.folder, name);
    const logger: Logger = {
      log: (_level, _message, { code }) => {
        if (typeof code === 'string') this.failures.push(code);
      },
    };
    const device = await openReplica({ folder, tenant, user: name, schema, transport, logger });
    this.devices.push(device);
    return device;
  }

  /**
   * Syncs devices one after another; each must end as synced. A server that finds back to NATS later than a run
   * waits for its receipt leaves that run pending: the next one ends it.
   */
  async sync(...devices: readonly TestDevice[]): Promise<void> {
    for (const device of devices) {
      const endsAtMs = performance.now() + 20_000;
      let log = await device.sync();
      while (log.result === 'pending' && performance.now() < endsAtMs) log = await device.sync();
      expect(log, JSON.stringify(device.status.error)).toMatchObject({ result: 'synced' });
    }
  }

  /** All servers and devices hold the same contents, and the servers came to it the same way. */
  async expectEqual(): Promise<void> {
    for (const server of this.servers) await server.settle();
    const all = [...this.servers, ...this.devices];
    const prints = await Promise.all(all.map((one) => one.fingerprint('visits')));
    expect(new Set(prints).size, prints.join('\n')).toBe(1);
    expect(new Set(this.servers.map((server) => server.status().state.digest)).size).toBe(1);
  }

  /** A word among the servers that is of none of them. */
  async talk(): Promise<Fellows> {
    const connection = await connectServer({ servers: [this.nats.url] }, systemEntropy);
    this.#connections.push(connection);
    return createFellows(openServerTalk(connection, tenant), systemClock, 'a test');
  }

  /** Number of the first message that the stream of a generation still holds. */
  async firstStored(generation: number): Promise<number> {
    const connection = await connectServer({ servers: [this.nats.url] }, systemEntropy);
    const answer = await connection.core.request(`$JS.API.STREAM.INFO.OPS-${tenant}-${generation}`);
    await connection.close();
    return (answer.json() as { readonly state: { readonly first_seq: number } }).state.first_seq;
  }

  /** Cuts the newest block to a share of its length, as a power cut may. NATS must not run. */
  cutNewestBlock(generation: number, share: number): Promise<void> {
    return cutNewestBlock(this.nats, `OPS-${tenant}-${generation}`, share);
  }

  /** Removes messages of devices from a generation, as an operator might; those of servers stay. */
  async purgeEnvelopes(generation: number): Promise<void> {
    const connection = await connectServer({ servers: [this.nats.url] }, systemEntropy);
    const filter = `tm.${tenant}.ops.${generation}.*.*`;
    const subject = `$JS.API.STREAM.PURGE.OPS-${tenant}-${generation}`;
    await connection.core.request(subject, JSON.stringify({ filter }));
    await connection.close();
  }

  /** Deletes the stream of a generation, as an operator might. */
  async deleteStream(generation: number): Promise<void> {
    const connection = await connectServer({ servers: [this.nats.url] }, systemEntropy);
    await connection.core.request(`$JS.API.STREAM.DELETE.OPS-${tenant}-${generation}`);
    await connection.close();
  }

  /** Removes what NATS wrote down of a stream beside its messages. NATS must not run. */
  async removeStreamMeta(generation: number): Promise<void> {
    const folder = path.dirname(blocksOf(this.nats, `OPS-${tenant}-${generation}`));
    await rm(path.join(folder, 'meta.inf'));
  }

  /** Flips one bit in the middle of the newest block. NATS must not run. */
  async flipBit(generation: number): Promise<void> {
    const file = await open(await newestBlock(this.nats, `OPS-${tenant}-${generation}`), 'r+');
    try {
      const { size } = await file.stat();
      const byte = new Uint8Array(1);
      const at = Math.floor(size / 2);
      await file.read(byte, 0, 1, at);
      byte[0] = (byte[0] as number) ^ 16;
      await file.write(byte, 0, 1, at);
    } finally {
      await file.close();
    }
  }
}
