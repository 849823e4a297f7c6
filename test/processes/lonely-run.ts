import { openReplica } from '@tidemark/node';
import { openServer } from '@tidemark/server';
import { MemoryLevel } from 'memory-level';
import { schema, tenant } from './kill-schema.js';

/**
 * Runs once against a server in this process whose fold stops at the first transaction. Nothing but the run
 * keeps the process: without an end of its own the run would be cut off, and nothing said.
 */
const database = () =>
  new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });
const server = await openServer({
  tenant,
  schema,
  database: { store: database(), input: database() },
  validate: () => {
    throw new Error('a hook that fails');
  },
});
const { transport } = server;
const folder = process.argv[2] ?? '';
const replica = await openReplica({ folder, tenant, user: 'ana', schema, transport });
await replica.create('visits', { subject: 's' });
const { result } = await replica.sync();
process.stdout.write(result);
await replica.close();
await server.close();
