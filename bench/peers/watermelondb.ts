import { mkdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { contactAt, contactId } from '../harness/crm.js';
import { editedField, inParts, positions, type Peer } from './roles.js';

type Row = Record<string, unknown>;
interface Changes {
  readonly contacts: {
    readonly created: readonly Row[];
    readonly updated: readonly Row[];
    readonly deleted: readonly string[];
  };
}
interface Stored {
  version: number;
  readonly created: number;
  row: Row;
}
interface Found {
  readonly _raw: Row;
  readonly _setRaw: (field: string, value: unknown) => void;
  readonly prepareUpdate: (change: () => void) => unknown;
}
interface Table {
  readonly query: (...clauses: readonly unknown[]) => {
    readonly fetch: () => Promise<readonly Found[]>;
    readonly fetchCount: () => Promise<number>;
  };
  readonly find: (id: string) => Promise<Found>;
}
interface Database {
  readonly get: (table: string) => Table;
  readonly write: (work: () => Promise<void>) => Promise<void>;
  readonly batch: (changes: readonly unknown[]) => Promise<void>;
}
interface Watermelon {
  readonly Database: new (options: object) => Database;
  readonly Model: new () => object;
  readonly appSchema: (options: object) => object;
  readonly tableSchema: (options: object) => object;
  readonly Q: {
    readonly where: (field: string, condition: unknown) => unknown;
    readonly oneOf: (values: readonly string[]) => unknown;
  };
}

const editBatch = 1_000;

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
};

/**
 * WatermelonDB on SQLite. It brings no server: this one is a map in memory behind two endpoints, about the fastest that
 * one could write, and nothing in it is durable.
 */
export const watermelondb: Peer = {
  facts: {
    keeps: 'the device',
    durableDevice: 'SQLite file, fsynced per transaction (rollback journal of its adapter)',
    durableServer: 'none: it brings no server; the one here is a map in memory',
    onConflict:
      'the columns that were edited here win at the next pull and overwrite the server at the next push, silently',
    settings: 'one answer with everything, as synchronize() wants it; edits in batches of 1,000',
  },
  server: () => {
    const rows = new Map<string, Stored>();
    let version = 1;
    let http: Server;
    const pulled = (since: number): string => {
      const created: Row[] = [];
      const updated: Row[] = [];
      for (const one of rows.values())
        if (one.version > since) (one.created > since ? created : updated).push(one.row);
      const changes: Changes = { contacts: { created, updated, deleted: [] } };
      return JSON.stringify({ changes, timestamp: version });
    };
    const take = ({ contacts: { created, updated } }: Changes): void => {
      version += 1;
      for (const { _status, _changed, ...row } of [...created, ...updated]) {
        const id = String(row['id']);
        rows.set(id, { version, created: rows.get(id)?.created ?? version, row });
      }
    };
    return {
      start: async ({ records }) => {
        for (let i = 0; i < records; i += 1) {
          const id = contactId(i);
          rows.set(id, { version, created: version, row: { id, ...contactAt(i) } });
        }
        http = createServer((request, response) => {
          const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
          if (pathname === '/pull') {
            response.end(pulled(Number(searchParams.get('since') ?? 0)));
            return;
          }
          void bodyOf(request).then((body) => {
            take(JSON.parse(body) as Changes);
            response.end('{}');
          });
        });
        await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
        return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
      },
      change: (edits) => {
        version += 1;
        for (const i of positions(edits)) {
          const one = rows.get(contactId(i));
          if (one === undefined) throw new Error(`there is no record ${i}`);
          one.version = version;
          one.row = { ...one.row, [editedField]: edits.value };
        }
        return Promise.resolve();
      },
      seen: (value) => {
        let seen = 0;
        for (const { row } of rows.values()) if (row[editedField] === value) seen += 1;
        return Promise.resolve(seen);
      },
      read: (i) => Promise.resolve(String(rows.get(contactId(i))?.row[editedField])),
      close: () => {
        http.close();
        return Promise.resolve();
      },
    };
  },
  device: () => {
    let parts: Watermelon;
    let database: Database;
    let sync: () => Promise<void>;
    const table = (): Table => database.get('contacts');
    return {
      open: async ({ folder, name, installed, address }) => {
        const load = createRequire(path.join(installed, 'package.json'));
        parts = load('@nozbe/watermelondb') as Watermelon;
        const { default: SQLiteAdapter } = load('@nozbe/watermelondb/adapters/sqlite') as {
          readonly default: new (options: object) => object;
        };
        const { synchronize } = load('@nozbe/watermelondb/sync') as {
          readonly synchronize: (options: object) => Promise<void>;
        };
        mkdirSync(path.join(folder, name), { recursive: true });
        const columns = Object.entries(contactAt(0)).map(([field, value]) => ({
          name: field,
          type: typeof value,
        }));
        const schema = parts.appSchema({
          version: 1,
          tables: [parts.tableSchema({ name: 'contacts', columns })],
        });
        const adapter = new SQLiteAdapter({
          ...{ schema, dbName: path.join(folder, name, 'contacts.db'), jsi: false },
        });
        class Contact extends parts.Model {
          static readonly table = 'contacts';
        }
        database = new parts.Database({ adapter, modelClasses: [Contact] });
        await table().query().fetchCount();
        sync = () =>
          synchronize({
            database,
            sendCreatedAsUpdated: false,
            pullChanges: async ({ lastPulledAt }: { readonly lastPulledAt: number | null }) =>
              (await fetch(`${address}/pull?since=${lastPulledAt ?? 0}`)).json(),
            pushChanges: async ({ changes }: { readonly changes: Changes }) => {
              await fetch(`${address}/push`, { method: 'POST', body: JSON.stringify(changes) });
            },
          });
      },
      pull: () => sync(),
      edit: async (edits) => {
        await database.write(async () => {
          for (const part of inParts(positions(edits), editBatch)) {
            const ids = part.map(contactId);
            const found = await table()
              .query(parts.Q.where('id', parts.Q.oneOf(ids)))
              .fetch();
            await database.batch(
              found.map((one) => one.prepareUpdate(() => one._setRaw(editedField, edits.value))),
            );
          }
        });
      },
      push: () => sync(),
      count: () => table().query().fetchCount(),
      read: async (i) => String((await table().find(contactId(i)))._raw[editedField]),
      // The client's columns win silently at its next pull; nothing is kept.
      conflicts: () => Promise.resolve(0),
      close: () => Promise.resolve(),
    };
  },
};
