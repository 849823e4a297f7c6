// A server that serves its parent over the channel until it is killed: folder of its data, and the storage
// call with which it kills itself.
import path from 'node:path';
import { openServer } from '@tidemark/server';
import { argumentsOfLife, sayToParent } from './child.js';
import { dieAtStorageCall } from './dying-storage.js';
import { everyVisit } from './every-visit.js';
import { serveChannel } from './ipc-transport.js';
import { batchPrefix, schema, serverStep, tallyId, tenant, type Visit } from './kill-schema.js';

/** What a server says. Numbers name the batches that its parent asked for. */
export type ServerSaying =
  | { readonly say: 'open'; readonly batches: readonly BatchCount[]; readonly tally: number }
  | { readonly say: 'written'; readonly batch: number }
  | {
      readonly say: 'rest';
      /** Visits of devices: those of the batches are counted only. */
      readonly visits: readonly Pick<Visit, 'id' | 'subject' | 'count'>[];
      readonly batches: readonly BatchCount[];
      readonly tally: number;
      readonly fingerprints: readonly string[];
      readonly errors: number;
    };

/** Records of a batch that a server has. */
export interface BatchCount {
  readonly batch: number;
  readonly records: number;
}

/** What a parent asks of a server. */
export type ServerAsking =
  | { readonly say: 'write'; readonly batch: number; readonly records: number }
  | { readonly say: 'rest' };

const say = (saying: ServerSaying): Promise<void> => sayToParent(saying);

const [folder = '', diesAt = '0'] = await argumentsOfLife();
dieAtStorageCall(Number(diesAt));
const server = await openServer({
  tenant,
  schema,
  folder: path.join(folder, 'server'),
  // Often, so that kills meet checkpoints being written too.
  checkpoints: { folder: path.join(folder, 'checkpoints'), everyOps: 100, keep: 2 },
});

const tally = async (): Promise<number> => (await server.get('tally', tallyId))?.total ?? 0;

interface Contents {
  readonly batches: readonly BatchCount[];
  readonly visits: readonly Pick<Visit, 'id' | 'subject' | 'count'>[];
}

const readVisits = async (): Promise<Contents> => {
  const counts = new Map<number, number>();
  const visits: Pick<Visit, 'id' | 'subject' | 'count'>[] = [];
  for await (const { id, subject, count } of everyVisit(server)) {
    if (!id.startsWith(batchPrefix)) {
      visits.push({ id, subject, count });
      continue;
    }
    const batch = Number(id.slice(batchPrefix.length).split('-')[0]);
    counts.set(batch, (counts.get(batch) ?? 0) + 1);
  }
  return { batches: [...counts].map(([batch, records]) => ({ batch, records })), visits };
};

/** One transaction: records of a batch, and one step of the tally. */
const write = async (batch: number, records: number): Promise<void> => {
  await server.write(
    (writer) => {
      if (batch === 0) writer.put('tally', tallyId, { label: 'shared' });
      writer.increment('tally', tallyId, { total: serverStep });
      for (let k = 0; k < records; k += 1)
        writer.put('visits', `${batchPrefix}${batch}-${k}`, { subject: `of batch ${batch}` });
    },
    { user: 'office' },
  );
  await say({ say: 'written', batch });
};

const rest = async (): Promise<void> => {
  await server.settle();
  await say({
    say: 'rest',
    ...(await readVisits()),
    tally: await tally(),
    fingerprints: [await server.fingerprint('visits'), await server.fingerprint('tally')],
    errors: (await server.errors.list()).length,
  });
};

const sayOpen = async (): Promise<void> => {
  const { batches } = await readVisits();
  await say({ say: 'open', batches, tally: await tally() });
};

const opened = sayOpen();
process.on('message', (message: ServerAsking | { readonly say?: undefined }) => {
  // A write that came between the two reads of `open` would make them differ.
  if (message.say === 'write') void opened.then(() => write(message.batch, message.records));
  if (message.say === 'rest') void opened.then(rest);
});
serveChannel(process, server.transport);
await opened;
