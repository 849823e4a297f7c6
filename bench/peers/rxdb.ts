import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { contactAt, contactId } from '../harness/crm.js';
import { editedField, inParts, positions, type Edits, type Peer } from './roles.js';

type Fields = Readonly<Record<string, unknown>>;
interface Found {
  readonly toMutableJSON: () => Fields;
  readonly get: (field: string) => unknown;
}
interface Query<A> {
  readonly exec: () => Promise<A>;
}
interface Collection {
  onDestroy?: unknown[];
  readonly bulkInsert: (docs: readonly Fields[]) => Promise<{ readonly error: readonly unknown[] }>;
  readonly bulkUpsert: (
    docs: readonly Fields[],
  ) => Promise<{ readonly error?: readonly unknown[] }>;
  readonly findByIds: (ids: readonly string[]) => Query<ReadonlyMap<string, Found>>;
  readonly findOne: (id: string) => Query<Found | null>;
  readonly find: (query?: object) => Query<readonly Found[]>;
}
interface Database {
  onDestroy?: unknown[];
  readonly addCollections: (collections: object) => Promise<{ readonly contacts: Collection }>;
  readonly close: () => Promise<unknown>;
}
interface Replication {
  readonly error$: { readonly subscribe: (told: (error: unknown) => void) => void };
  readonly awaitInitialReplication: () => Promise<void>;
  readonly awaitInSync: () => Promise<void>;
  readonly cancel: () => Promise<unknown>;
}
interface RxServer {
  readonly addReplicationEndpoint: (options: object) => unknown;
  readonly start: () => Promise<unknown>;
  readonly close: () => Promise<unknown>;
}
interface Core {
  readonly createRxDatabase: (options: object) => Promise<Database>;
}

const writeBatch = 2_000;
const pullBatch = 1_000;
/** A larger push exceeds the 100 kB that rxdb-server takes, and is tried again for ever. */
const pushBatch = 100;
const retryMs = 100;
const idLengthMax = 20;

const schemaOf = (): object => {
  const typeOf = (value: unknown): object => ({ type: typeof value });
  const fields = Object.entries(contactAt(0)).map(([name, value]) => [name, typeOf(value)]);
  return {
    ...{ version: 0, primaryKey: 'id', type: 'object', required: ['id'] },
    properties: {
      id: { type: 'string', maxLength: idLengthMax },
      ...(Object.fromEntries(fields) as object),
    },
  };
};

const openDatabase = async (
  load: NodeJS.Require,
  name: string,
): Promise<{ readonly database: Database; readonly contacts: Collection }> => {
  const { createRxDatabase } = load('rxdb/plugins/core') as Core;
  const { getRxStorageMemory } = load('rxdb/plugins/storage-memory') as {
    readonly getRxStorageMemory: () => object;
  };
  const storage = getRxStorageMemory();
  const database = await createRxDatabase({ name, storage, multiInstance: false });
  const { contacts } = await database.addCollections({ contacts: { schema: schemaOf() } });
  return { database, contacts };
};

const edit = async (contacts: Collection, edits: Edits): Promise<void> => {
  for (const part of inParts(positions(edits), pullBatch)) {
    const found = await contacts.findByIds(part.map(contactId)).exec();
    const { error = [] } = await contacts.bulkUpsert(
      [...found.values()].map((one) => ({ ...one.toMutableJSON(), [editedField]: edits.value })),
    );
    if (error.length > 0) throw new Error(JSON.stringify(error[0]));
  }
};

const read = async (contacts: Collection, i: number): Promise<string> =>
  String((await contacts.findOne(contactId(i)).exec())?.get(editedField));

/** A port that is free now: rxdb-server wants one given. */
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

/** RxDB with its free memory storage, against rxdb-server with the same. */
export const rxdb: Peer = {
  facts: {
    keeps: 'nothing',
    durableDevice: 'memory: nothing survives the process (no free storage for files in Node)',
    durableServer: 'memory: nothing survives the process',
    onConflict:
      'the server wins and the local edit is dropped silently; a handler may decide otherwise',
    settings:
      'pull batches of 1,000; push batches of 100, the most that its server takes of such records',
  },
  server: () => {
    let database: Database;
    let contacts: Collection;
    let server: RxServer;
    return {
      start: async ({ records, installed }) => {
        const load = createRequire(path.join(installed, 'package.json'));
        ({ database, contacts } = await openDatabase(load, 'server'));
        // rxdb-server 15 expects a member that RxDB 17 no longer has.
        database.onDestroy ??= [];
        contacts.onDestroy ??= [];
        const all = Array.from({ length: records }, (_, i) => i);
        for (const part of inParts(all, writeBatch)) {
          const docs = part.map((i) => ({ id: contactId(i), ...contactAt(i) }));
          const { error } = await contacts.bulkInsert(docs);
          if (error.length > 0) throw new Error(JSON.stringify(error[0]));
        }
        const { createRxServer } = load('rxdb-server/plugins/server') as {
          readonly createRxServer: (options: object) => Promise<RxServer>;
        };
        const { RxServerAdapterExpress } = load('rxdb-server/plugins/adapter-express') as {
          readonly RxServerAdapterExpress: object;
        };
        const port = await freePort();
        server = await createRxServer({
          ...{ database, adapter: RxServerAdapterExpress, port, hostname: '127.0.0.1' },
        });
        server.addReplicationEndpoint({ name: 'contacts', collection: contacts });
        await server.start();
        return `http://127.0.0.1:${port}/contacts/0`;
      },
      change: (edits) => edit(contacts, edits),
      seen: async (value) =>
        (await contacts.find({ selector: { [editedField]: value } }).exec()).length,
      read: (i) => read(contacts, i),
      close: async () => {
        await server.close();
      },
    };
  },
  device: () => {
    let load: NodeJS.Require;
    let url: string;
    let contacts: Collection;
    let database: Database;
    const replicate = async (): Promise<void> => {
      const { replicateServer } = load('rxdb-server/plugins/replication-server') as {
        readonly replicateServer: (options: object) => Replication;
      };
      const replication = replicateServer({
        ...{ collection: contacts, replicationIdentifier: 'bench', url, live: false },
        ...{ retryTime: retryMs, waitForLeadership: false },
        ...{ pull: { batchSize: pullBatch }, push: { batchSize: pushBatch } },
      });
      let failure: unknown;
      replication.error$.subscribe((error) => {
        failure ??= error;
      });
      await replication.awaitInitialReplication();
      await replication.awaitInSync();
      await replication.cancel();
      if (failure !== undefined) throw new Error(JSON.stringify(failure));
    };
    return {
      open: async ({ name, installed, address }) => {
        load = createRequire(path.join(installed, 'package.json'));
        url = address;
        ({ database, contacts } = await openDatabase(load, name));
      },
      pull: replicate,
      edit: (edits) => edit(contacts, edits),
      push: replicate,
      count: async () => (await contacts.find().exec()).length,
      read: (i) => read(contacts, i),
      // The server's state wins while it replicates; nothing is kept that a person could look at.
      conflicts: () => Promise.resolve(0),
      close: async () => {
        await database.close();
      },
    };
  },
};
