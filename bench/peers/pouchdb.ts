import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import path from 'node:path';
import { contactAt, contactId } from '../harness/crm.js';
import { editedField, inParts, positions, type Edits, type Peer } from './roles.js';

interface Doc {
  readonly _id: string;
  readonly _conflicts?: readonly string[];
  readonly [field: string]: unknown;
}
interface Listing {
  readonly rows: readonly { readonly doc: Doc }[];
}
interface Written {
  readonly error?: unknown;
}
interface ReplicationOptions {
  readonly batch_size: number;
  readonly batches_limit: number;
}
interface Database {
  readonly info: () => Promise<{ readonly doc_count: number }>;
  readonly get: (id: string) => Promise<Doc>;
  readonly allDocs: (options: {
    readonly keys?: readonly string[];
    readonly include_docs: true;
    readonly conflicts?: true;
  }) => Promise<Listing>;
  readonly bulkDocs: (docs: readonly Doc[]) => Promise<readonly Written[]>;
  readonly replicate: {
    readonly from: (other: Database, options: ReplicationOptions) => Promise<unknown>;
    readonly to: (other: Database, options: ReplicationOptions) => Promise<unknown>;
  };
  readonly close: () => Promise<void>;
}
interface Pouch {
  new (name: string, options?: { readonly skip_setup: true }): Database;
  readonly defaults: (options: { readonly prefix: string }) => Pouch;
}
type Handler = (...args: readonly unknown[]) => void;
interface App {
  readonly use: (at: string, handler: Handler) => void;
  readonly listen: (port: number, host: string, done: () => void) => Server;
}

const writeBatch = 2_000;
const editBatch = 1_000;
const replication: ReplicationOptions = { batch_size: 1_000, batches_limit: 10 };

const write = async (db: Database, docs: readonly Doc[]): Promise<void> => {
  const failed = (await db.bulkDocs(docs)).find(({ error }) => error !== undefined);
  if (failed !== undefined) throw new Error(JSON.stringify(failed));
};

const edit = async (db: Database, edits: Edits): Promise<void> => {
  for (const part of inParts(positions(edits), editBatch)) {
    const { rows } = await db.allDocs({ keys: part.map(contactId), include_docs: true });
    await write(
      db,
      rows.map(({ doc }) => ({ ...doc, [editedField]: edits.value })),
    );
  }
};

/** PouchDB on LevelDB, against express-pouchdb on LevelDB. */
export const pouchdb: Peer = {
  facts: {
    keeps: 'both sides',
    durableDevice: 'LevelDB without fsync: survives a killed process, not a power cut',
    durableServer: 'LevelDB without fsync: survives a killed process, not a power cut',
    onConflict:
      'both revisions stay, one of them wins by its hash on all devices, the other is found by asking for _conflicts',
    settings:
      'batches of 1,000 documents (default 100 is slower), 10 at once; edits by bulkDocs of 1,000',
  },
  server: () => {
    let db: Database;
    let http: Server;
    return {
      start: async ({ folder, records, installed }) => {
        const load = createRequire(path.join(installed, 'package.json'));
        mkdirSync(path.join(folder, 'server'), { recursive: true });
        const prefix = `${path.join(folder, 'server')}/`;
        const Served = (load('pouchdb') as Pouch).defaults({ prefix });
        // It hooks the list of databases: it comes before the first one.
        const handler = (load('express-pouchdb') as (pouch: Pouch, options: object) => Handler)(
          Served,
          { mode: 'minimumForPouchDB', logPath: path.join(folder, 'log'), inMemoryConfig: true },
        );
        db = new Served('crm');
        const all = Array.from({ length: records }, (_, i) => i);
        for (const part of inParts(all, writeBatch))
          await write(
            db,
            part.map((i) => ({ _id: contactId(i), ...contactAt(i) })),
          );
        const app = (load('express') as () => App)();
        app.use('/db', handler);
        http = await new Promise<Server>((resolve) => {
          const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
        });
        return `http://127.0.0.1:${(http.address() as AddressInfo).port}/db/crm`;
      },
      change: (edits) => edit(db, edits),
      seen: async (value) => {
        const { rows } = await db.allDocs({ include_docs: true });
        return rows.filter(({ doc }) => doc[editedField] === value).length;
      },
      read: async (i) => String((await db.get(contactId(i)))[editedField]),
      close: async () => {
        http.close();
        await db.close();
      },
    };
  },
  device: () => {
    let db: Database;
    let remote: Database;
    return {
      open: async ({ folder, name, installed, address }) => {
        const load = createRequire(path.join(installed, 'package.json'));
        const Local = load('pouchdb') as Pouch;
        mkdirSync(path.join(folder, name), { recursive: true });
        db = new Local(path.join(folder, name, 'crm'));
        remote = new Local(address, { skip_setup: true });
        await db.info();
      },
      pull: async () => {
        await db.replicate.from(remote, replication);
      },
      edit: (edits) => edit(db, edits),
      push: async () => {
        await db.replicate.to(remote, replication);
      },
      count: async () => (await db.info()).doc_count,
      read: async (i) => String((await db.get(contactId(i)))[editedField]),
      conflicts: async () => {
        const { rows } = await db.allDocs({ include_docs: true, conflicts: true });
        return rows.filter(({ doc }) => (doc._conflicts?.length ?? 0) > 0).length;
      },
      close: () => db.close(),
    };
  },
};
