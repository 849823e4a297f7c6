// A server on NATS that does what its parent asks for until it is killed: folder, addresses, name, options.
import path from 'node:path';
import { openServer, type ServerEvent } from '@tidemark/server';
import { sayToParent } from './child.js';
import { schema, serverStep, tallyId, tenant } from './kill-schema.js';

/** What a server on NATS says. */
export type NatsVictimSaying =
  | { readonly say: 'open' }
  | { readonly say: 'written'; readonly batch: number }
  | { readonly say: 'event'; readonly event: ServerEvent }
  | {
      readonly say: 'state';
      readonly ask: number;
      readonly digest: string;
      readonly incarnation: number;
      readonly tally: number;
      readonly fingerprints: readonly string[];
      readonly memoryBytes: number;
    };

/** How a server on NATS is opened. */
export interface NatsVictimOptions {
  /** Folder of checkpoints that the servers share; none when left out. */
  readonly checkpoints?: string;
  readonly replicas?: number;
}

/** What a parent asks of a server on NATS. */
export type NatsVictimAsking =
  | { readonly say: 'write'; readonly batch: number }
  | { readonly say: 'checkpoint' }
  /** What it holds once everything that is stored now is applied. */
  | { readonly say: 'state'; readonly ask: number };

const say = (saying: NatsVictimSaying): Promise<void> => sayToParent(saying);

const [folder = '', urls = '', name = '', json = '{}'] = process.argv.slice(2);
const { checkpoints, replicas } = JSON.parse(json) as NatsVictimOptions;
const server = await openServer({
  tenant,
  schema,
  folder: path.join(folder, name),
  cursorKey: new Uint8Array(32).fill(3),
  nats: {
    connection: { servers: urls.split(','), name },
    ...(replicas === undefined ? {} : { replicas }),
  },
  ...(checkpoints === undefined ? {} : { checkpoints: { folder: checkpoints, keep: 2 } }),
  onEvent: (event) => void say({ say: 'event', event }),
});

const write = async (batch: number): Promise<void> => {
  await server.write(
    [
      { kind: 'put', table: 'visits', id: `batch-${batch}`, fields: { subject: `${batch}` } },
      { kind: 'increment', table: 'tally', id: tallyId, by: { total: serverStep } },
    ],
    { user: 'office' },
  );
  await say({ say: 'written', batch });
};

const tell = async (ask: number): Promise<void> => {
  await server.settle();
  const { digest, incarnation } = server.status().state;
  await say({
    say: 'state',
    ask,
    digest,
    incarnation,
    tally: (await server.get('tally', tallyId))?.total ?? 0,
    fingerprints: [await server.fingerprint('visits'), await server.fingerprint('tally')],
    memoryBytes: process.memoryUsage().rss,
  });
};

process.on('message', (message: NatsVictimAsking | { readonly say?: undefined }) => {
  if (message.say === 'write') void write(message.batch);
  // A server that finds its place again says nothing now: it is asked again.
  if (message.say === 'state') tell(message.ask).catch(() => undefined);
  if (message.say === 'checkpoint') server.checkpoint().catch(() => undefined);
});
await say({ say: 'open' });
