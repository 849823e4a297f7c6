// A device that edits and syncs until it is killed: folder, seed of this life, whether to begin with a run
// that must end, and the storage call with which it kills itself. `rest` instead of a seed only opens, syncs and shows what it has.
import { openReplica, type Replica, type SyncLog } from '@tidemark/node';
import { SeededRandom } from '../convergence/seeded-random.js';
import { argumentsOfLife, sayToParent } from './child.js';
import { dieAtStorageCall } from './dying-storage.js';
import { channelTransport } from './ipc-transport.js';
import { schema, tallyId, tenant, type Edit, type Visit } from './kill-schema.js';
import { settlingRun } from './settling-run.js';

/** What a victim says. */
export type VictimSaying =
  | { readonly say: 'open'; readonly visits: readonly Visit[]; readonly tally: number | null }
  | { readonly say: 'settled'; readonly log: SyncLog; readonly problem: string | null }
  | { readonly say: 'begins'; readonly edit: Edit }
  | { readonly say: 'promised' }
  | { readonly say: 'synced'; readonly result: string; readonly error: string | null }
  | {
      readonly say: 'rest';
      readonly log: SyncLog;
      readonly visits: readonly Visit[];
      readonly fingerprints: readonly string[];
      readonly pending: number;
      readonly errors: number;
    };

const say = (saying: VictimSaying): Promise<void> => sayToParent(saying);

type Device = Replica<typeof schema>;

const showVisits = async (replica: Device): Promise<readonly Visit[]> =>
  (await replica.query('visits')).map(({ id, subject, count, note }) => ({
    id,
    subject,
    count: count ?? 0,
    note: note ?? '',
  }));

/** Draws the next edit; needs the ids that are alive. */
const drawEdit = (random: SeededRandom, alive: readonly string[], life: string): Edit => {
  const word = String(random.next());
  const kind = alive.length === 0 ? 0 : random.below(100);
  if (kind < 20) return { kind: 'create', id: `v-${life}-${word}`, subject: word };
  const id = random.pick(alive);
  if (kind < 40) return { kind: 'update', id, subject: word };
  if (kind < 85) return { kind: 'count', id, by: 1 + random.below(3) };
  if (kind < 89) return { kind: 'note', id, text: `[${word}]` };
  return { kind: 'delete', id };
};

const carryOut = async (replica: Device, edit: Edit, durable: boolean): Promise<void> => {
  const options = { durability: durable ? ('disk' as const) : ('os' as const) };
  switch (edit.kind) {
    case 'create':
      await replica.create('visits', { subject: edit.subject }, { ...options, id: edit.id });
      return;
    case 'update':
      return replica.update('visits', edit.id, { subject: edit.subject }, options);
    case 'count':
      return replica.transaction(async (edits) => {
        await edits.increment('visits', edit.id, 'count', edit.by);
        await edits.increment('tally', tallyId, 'total', edit.by);
      }, options);
    case 'note': {
      const note = (await replica.get('visits', edit.id))?.note ?? '';
      return replica.editText('visits', edit.id, 'note', note + edit.text, options);
    }
    case 'delete':
      return replica.delete('visits', edit.id, options);
  }
};

const editForEver = async (replica: Device, random: SeededRandom, life: string): Promise<never> => {
  const alive = new Set((await showVisits(replica)).map(({ id }) => id));
  let syncing = false;
  for (;;) {
    const edit = drawEdit(random, [...alive], life);
    await say({ say: 'begins', edit });
    await carryOut(replica, edit, random.chance(20));
    await say({ say: 'promised' });
    if (edit.kind === 'create') alive.add(edit.id);
    if (edit.kind === 'delete') alive.delete(edit.id);
    if (syncing || !random.chance(15)) continue;
    syncing = true;
    const run = replica
      .sync({ mode: random.chance(50) ? 'background' : 'foreground' })
      .then(async ({ result, error }) => {
        syncing = false;
        await say({ say: 'synced', result, error });
      });
    if (random.chance(30)) await run;
  }
};

const rest = async (replica: Device, log: SyncLog): Promise<void> => {
  await say({
    say: 'rest',
    log,
    visits: await showVisits(replica),
    fingerprints: [await replica.fingerprint('visits'), await replica.fingerprint('tally')],
    pending: replica.status.pending.operations,
    errors: (await replica.errors.list({ state: 'all' })).length,
  });
  await replica.close();
  process.disconnect();
};

const main = async (): Promise<void> => {
  const [folder = '', life = '', begin, diesAt = '0'] = await argumentsOfLife();
  dieAtStorageCall(Number(diesAt));
  const replica = await openReplica({
    folder,
    tenant,
    user: 'ana',
    schema,
    transport: channelTransport(process),
  });
  const tally = await replica.get('tally', tallyId);
  await say({ say: 'open', visits: await showVisits(replica), tally: tally?.total ?? null });
  if (life === 'rest') return rest(replica, await settlingRun(replica));
  if (begin === 'settle') {
    const log = await settlingRun(replica);
    await say({ say: 'settled', log, problem: replica.status.error?.message ?? null });
  }
  return editForEver(replica, new SeededRandom(Number(life)), life);
};

await main();
