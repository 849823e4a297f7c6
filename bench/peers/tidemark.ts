import path from 'node:path';
import {
  natsTransport,
  openReplica,
  type NatsTransport,
  type Replica,
  type TypedSchema,
} from '@tidemark/node';
import { openServer, type Server } from '@tidemark/server';
import { contactAt, contactId, schema } from '../harness/crm.js';
import { editedField, inParts, positions, type Peer } from './roles.js';

type BenchTables = typeof schema extends TypedSchema<infer T> ? T : never;

function* contacts(to: number) {
  for (let i = 0; i < to; i += 1)
    yield { kind: 'put', table: 'contacts', id: contactId(i), fields: contactAt(i) } as const;
}

const tenant = 'peers';
const editsPerTransaction = 100;
/** Runs in a row that may end before the receipts of a long upload. */
const runsMax = 1_000;

let tenants = 0;

/** Tidemark over its nats-server, as it is installed. */
export const tidemark: Peer = {
  facts: {
    keeps: 'both sides',
    durableDevice: 'LevelDB, log and view in one batch; survives a killed process (durability os)',
    durableServer: 'JetStream acknowledges what is stored; LevelDB fsynced per window of the fold',
    settings: 'defaults; transactions of 100 edits',
    onConflict:
      'the rule of the field decides (here the default, server-wins), and explain tells what it took away; with rule manual both stay and a person chooses',
  },
  server: () => {
    let server: Server<BenchTables>;
    return {
      start: async ({ folder, records, natsUrl }) => {
        tenants += 1;
        const name = `${tenant}-${process.pid}-${tenants}`;
        server = await openServer({
          ...{ folder: path.join(folder, 'server'), tenant: name, schema },
          nats: { connection: { servers: [natsUrl] } },
        });
        await server.write(contacts(records), { user: 'import' });
        return `${natsUrl}#${name}`;
      },
      change: async (edits) => {
        await server.write(
          positions(edits).map((i) => ({
            ...({ kind: 'patch', table: 'contacts' } as const),
            id: contactId(i),
            fields: { [editedField]: edits.value },
          })),
          { user: 'office' },
        );
      },
      seen: async (value) =>
        (await server.query('contacts', { filter: `${editedField} = '${value}'` })).length,
      read: async (i) => String((await server.get('contacts', contactId(i)))?.[editedField]),
      close: () => server.close(),
    };
  },
  device: () => {
    let replica: Replica<typeof schema>;
    let transport: NatsTransport;
    const sync = async (): Promise<void> => {
      for (let run = 0; run < runsMax; run += 1) {
        const { result, error } = await replica.sync();
        if (result === 'synced' && replica.status.pending.operations === 0) return;
        // Operations that wait for a person are decided: the run has nothing left to do.
        if (result === 'blocked') return;
        if (result === 'failed') throw new Error(`sync failed: ${error ?? ''}`);
      }
      throw new Error('the upload did not end');
    };
    return {
      open: async ({ folder, name, address }) => {
        const [url = '', tenantName = ''] = address.split('#');
        transport = natsTransport({ servers: [url] });
        replica = await openReplica({
          ...{ folder: path.join(folder, name), tenant: tenantName, user: name, schema, transport },
        });
      },
      pull: sync,
      edit: async (edits) => {
        for (const part of inParts(positions(edits), editsPerTransaction))
          await replica.transaction(async (one) => {
            for (const i of part)
              await one.update('contacts', contactId(i), { [editedField]: edits.value });
          });
      },
      push: sync,
      count: () => replica.count('contacts'),
      read: async (i) => String((await replica.get('contacts', contactId(i)))?.[editedField]),
      conflicts: async () => (await replica.errors.list()).length,
      close: async () => {
        await replica.close();
        await transport.disconnect();
      },
    };
  },
};
