// Writes the golden folders: a server and a replica with synced records, a text, a sync error and
// pending operations. Argument: the folder that will hold `server` and `replica`.
import path from 'node:path';
import { openReplica } from '@tidemark/node';
import { openServer } from '@tidemark/server';
import { goldenSchema as schema, goldenTenant as tenant, goldenUser } from './golden-schema.js';

const [folder = ''] = process.argv.slice(2);
// A time in the past: whoever opens the folders has a later clock.
let now = 1_700_000_000_000;
const clock = { nowMs: () => (now += 1) };

const server = await openServer({ tenant, schema, folder: path.join(folder, 'server'), clock });
const replica = await openReplica({
  folder: path.join(folder, 'replica'),
  tenant,
  user: goldenUser,
  schema,
  transport: server.transport,
  clock,
});
await server.write(
  (writer) => {
    writer.put('visits', 'v1', { subject: 'first', status: 'planned', on: '2023-11-15' });
    writer.put('visits', 'v2', { subject: 'second', price: '12.5' });
    writer.put('visits', 'gone', { subject: 'deleted' });
    writer.delete('visits', 'gone');
  },
  { user: 'office' },
);
await replica.sync();
await replica.increment('visits', 'v2', 'count', 5);
await replica.editText('visits', 'v2', 'note', 'a shared note');
await replica.create('tasks', { visit: 'v1', title: 'call' }, { id: 't1' });
await replica.sync();
// Both set a field with a manual rule: the edit of the device is parked.
await server.write((writer) => writer.patch('visits', 'v1', { status: 'done' }), {
  user: 'office',
});
await replica.update('visits', 'v1', { status: 'cancelled' });
await replica.sync();
const { result } = await replica.sync();
if (replica.status.parked !== 1) throw new Error(`no parked edit: the run ended ${result}`);
// The server goes on without the replica, and the replica without the server.
await server.write((writer) => writer.put('visits', 'v3', { subject: 'third' }), {
  user: 'office',
});
await replica.increment('visits', 'v2', 'count', 2);
await replica.editText('visits', 'v2', 'note', 'a shared note, longer');
await replica.transaction(async (edits) => {
  await edits.create('visits', { subject: 'offline' }, 'v4');
  await edits.create('tasks', { visit: 'v4', title: 'offline too' }, 't2');
});
await replica.close();
await server.close();
