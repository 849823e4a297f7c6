// A server on NATS that writes what its parent asks for until it is killed: folder, address, name.
import path from 'node:path';
import { openServer } from '@tidemark/server';
import { sayToParent } from './child.js';
import { schema, serverStep, tallyId, tenant } from './kill-schema.js';

/** What a server on NATS says. */
export type NatsVictimSaying =
  { readonly say: 'open' } | { readonly say: 'written'; readonly batch: number };

/** What a parent asks of a server on NATS. */
export interface NatsVictimAsking {
  readonly say: 'write';
  readonly batch: number;
}

const say = (saying: NatsVictimSaying): Promise<void> => sayToParent(saying);

const [folder = '', url = '', name = ''] = process.argv.slice(2);
const server = await openServer({
  tenant,
  schema,
  folder: path.join(folder, name),
  cursorKey: new Uint8Array(32).fill(3),
  nats: { connection: { servers: [url], name } },
});

process.on('message', (message: NatsVictimAsking | { readonly say?: undefined }) => {
  if (message.say !== 'write') return;
  const { batch } = message;
  void server
    .write(
      [
        { kind: 'put', table: 'visits', id: `batch-${batch}`, fields: { subject: `${batch}` } },
        { kind: 'increment', table: 'tally', id: tallyId, by: { total: serverStep } },
      ],
      { user: 'office' },
    )
    .then(() => say({ say: 'written', batch }));
});
await say({ say: 'open' });
