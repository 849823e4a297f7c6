import type { OpenReplicaOptions, Replica, SyncLog, Transport } from '@tidemark/node';
import { openReplica } from '@tidemark/node';
import type { Server } from '@tidemark/server';
import { demonstrationRecords, type NewRecord } from './dataset.js';
import { schema } from './schema.js';
import { count, seconds, type Terminal } from './terminal.js';

type Tables = NonNullable<(typeof schema)['_tables']>;
type DemoServer = Server<Tables>;
type Device = Replica<typeof schema>;

/** Tables of the schema, in the order in which they are shown. */
export const tableNames = ['countries', 'cities', 'visits', 'notes', 'stock'] as const;

/** Everything that the chapters share. */
export interface Stage {
  readonly terminal: Terminal;
  readonly server: DemoServer;
  /** Servers that follow the same input, and only download from it in this story. */
  readonly others: readonly DemoServer[];
  /** Way of a device to the servers. */
  readonly transport: (device: string) => Transport;
  readonly folder: string;
  readonly now: () => number;
}

const timed = async <A>(stage: Stage, work: () => Promise<A>): Promise<readonly [A, number]> => {
  const started = stage.now();
  const result = await work();
  return [result, stage.now() - started];
};

/** Chapter: the server takes real records in through `server.write`. */
export const importRecords = async (stage: Stage): Promise<void> => {
  const { terminal, server } = stage;
  terminal.chapter('A server with real records');
  const records = [...demonstrationRecords()];
  let done = 0;
  const operations = function* (): Generator<{
    kind: 'put';
    table: NewRecord['table'];
    id: string;
    fields: never;
  }> {
    for (const { table, id, fields } of records) {
      done += 1;
      if (done % 1_000 === 0) terminal.progress('import', done, records.length);
      yield { kind: 'put', table, id, fields: fields as never };
    }
  };
  const [, ms] = await timed(stage, () => server.write(operations(), { user: 'import' }));
  terminal.say(
    `${count(records.length)} records imported in ${seconds(ms)}: 135,233 places of GeoNames,`,
  );
  terminal.say('their countries, and visits, notes and stock derived from them.');
};

/** Opens one of the two devices of the story. */
export const openDevice = (stage: Stage, name: 'a' | 'b'): Promise<Device> => {
  const options: OpenReplicaOptions<typeof schema> = {
    folder: `${stage.folder}/device-${name}`,
    tenant: 'demo',
    user: `user-${name}`,
    schema,
    transport: stage.transport(name),
  };
  return openReplica(options);
};

const received = (log: SyncLog): number =>
  log.tables.reduce((sum, table) => sum + table.upserts + table.touches + table.evicts, 0);

/** Runs a sync with a progress bar and says what moved. */
export const sync = async (stage: Stage, label: string, device: Device): Promise<SyncLog> => {
  const { terminal } = stage;
  const log = await device.sync({
    mode: 'foreground',
    onProgress: ({ table, done, total }) => {
      if (table !== null) terminal.progress(`${label}: ${table}`, done, total);
    },
  });
  terminal.endProgress();
  if (log.result !== 'synced' && log.result !== 'pending')
    throw new Error(`the sync of ${label} ended as ${log.result} (${log.error ?? 'no code'})`);
  terminal.say(
    `${label}: ${log.result} in ${seconds(log.endedOn - log.startedOn)}; ` +
      `${count(log.uploadedOperations)} operations sent, ${count(received(log))} records received` +
      ` (${(log.downloadedBytes / 1e6).toFixed(1)} MB, ${count(log.serverReads)} reads on the server)`,
  );
  return log;
};

/** Chapter: both devices download everything for the first time. */
export const firstSync = async (stage: Stage, a: Device, b: Device): Promise<void> => {
  stage.terminal.chapter('First sync of two devices');
  await sync(stage, 'device A', a);
  await sync(stage, 'device B', b);
};

const first = async (
  device: Device,
  table: 'cities' | 'visits' | 'stock',
  filter: string,
): Promise<{ readonly id: string }> => {
  const [record] = await device.query(table, { filter, limit: 1 });
  if (record === undefined) throw new Error(`no record of ${table} fits ${filter}`);
  return record;
};

/** Records that the story is about. */
export interface Cast {
  readonly city: string;
  readonly otherCity: string;
  readonly confirmed: string;
  readonly reported: string;
  readonly deleted: string;
  readonly stock: string;
}

/** Chapter: both devices edit with no network. */
export const editOffline = async (stage: Stage, a: Device, b: Device): Promise<Cast> => {
  const { terminal } = stage;
  terminal.chapter('Both devices work offline');
  const [city, otherCity] = await a.query('cities', { filter: 'country = "SK"', limit: 2 });
  if (city === undefined || otherCity === undefined) throw new Error('no city in SK');
  const cast: Cast = {
    city: city.id,
    otherCity: otherCity.id,
    confirmed: (await first(a, 'visits', '$id = "visit-00010"')).id,
    reported: (await first(a, 'visits', '$id = "visit-00011"')).id,
    deleted: (await first(a, 'visits', '$id = "visit-00012"')).id,
    stock: (await first(a, 'stock', '$id = "stock-00001"')).id,
  };
  await a.update('cities', cast.city, { population: (city.population ?? 0) + 10 });
  await b.update('cities', cast.city, { admin: '99' });
  terminal.say(`${city.name}: A sets the population, B the district: other fields, no conflict.`);
  await a.update('cities', cast.otherCity, { population: 1_111 });
  // Edits of one millisecond have no later one: a person would have to decide.
  await new Promise((done) => setTimeout(done, 10));
  await b.update('cities', cast.otherCity, { population: 2_222 });
  terminal.say(`${otherCity.name}: both set the population: the later edit wins by rule.`);
  await a.increment('stock', cast.stock, 'quantity', -3);
  await b.increment('stock', cast.stock, 'quantity', -4);
  terminal.say('Stock: A takes 3, B takes 4: counters add.');
  await a.editText('notes', 'note-SK', 'body', { at: 0, remove: 0, insert: 'From A. ' });
  const note = await b.get('notes', 'note-SK');
  await b.editText('notes', 'note-SK', 'body', `${note?.body ?? ''} From B.`);
  terminal.say('Note on SK: both type into the same text: both texts stay.');
  await a.transaction(async (edits) => {
    // Ids of their own make every run end with the same contents; without them they would be UUIDs.
    const depot = { name: 'New depot', country: 'SK', population: 1 };
    const place = await edits.create('cities', depot, 'city-depot');
    const opening = { city: place, subject: 'Open the depot', status: 'planned' } as const;
    await edits.create('visits', opening, 'visit-depot');
    await edits.create('stock', { city: place, item: 'pump', quantity: 5 }, 'stock-depot');
  });
  terminal.say('A creates a place with a visit and stock in one transaction.');
  await a.update('visits', cast.confirmed, { status: 'done' });
  terminal.say('Visit 10: A says done ...');
  await b.transaction(async (edits) => {
    await edits.update('visits', cast.confirmed, { status: 'cancelled' });
    await edits.increment('stock', cast.stock, 'quantity', 100);
    const again = { city: cast.city, subject: 'Come again', status: 'planned' } as const;
    await edits.create('visits', again, 'visit-again');
  });
  terminal.say('  ... B says cancelled, and returns stock and plans anew, all in one transaction.');
  terminal.say('  Status is decided by people: that transaction must wait whole.');
  await a.update('visits', cast.reported, { status: 'done' });
  await b.update('visits', cast.reported, { status: 'cancelled', phone: '+421 2 000 000' });
  terminal.say('Visit 11: the same question, one record.');
  await a.delete('visits', cast.deleted);
  await b.update('visits', cast.deleted, { phone: '+421 2 111 111' });
  terminal.say('Visit 12: A deletes it, B adds a phone number.');
  const [pendingA, pendingB] = [a.status.pending.operations, b.status.pending.operations];
  terminal.say(`Pending: ${pendingA} operations on A, ${pendingB} on B. Nothing was sent.`);
  return cast;
};

/** Chapter: a row of another system arrives while the devices are away. */
export const foreignRow = async (stage: Stage, cast: Cast): Promise<void> => {
  const { terminal, server } = stage;
  terminal.chapter('Meanwhile a system of record reports a row');
  const before = await server.get('cities', cast.city);
  if (before === undefined) throw new Error('the city is not on the server');
  const { id, ...fields } = before;
  await server.foreign('registry', [
    {
      table: 'cities',
      id,
      fields: { ...fields, name: `${before.name} (registry)` },
      modifiedOn: stage.now(),
    },
  ]);
  terminal.say(`registry renames ${before.name}; it knows nothing of fields, only modifiedOn.`);
};

const show = (value: unknown): string => (value === null ? 'nothing' : JSON.stringify(value));

/** Chapter: logs go up, the merger decides, everybody downloads. */
export const meet = async (stage: Stage, a: Device, b: Device, cast: Cast): Promise<void> => {
  const { terminal, server } = stage;
  terminal.chapter('Sync: A, then B, then A again');
  await sync(stage, 'device A', a);
  await sync(stage, 'device B', b);
  await sync(stage, 'device A', a);
  const city = await a.get('cities', cast.city);
  const stock = await a.get('stock', cast.stock);
  const note = await a.get('notes', 'note-SK');
  terminal.say(
    `${city?.name}: population ${city?.population} from A, district ${city?.admin} from B.`,
  );
  terminal.say(`Stock: ${stock?.quantity}. Note: ${show(note?.body)}`);
  terminal.say('Why has the second city its population? `server.explain`:');
  const ledger = await server.explain('cities', cast.otherCity, 'population');
  terminal.table(
    ['version', 'user', 'base', 'server had', 'wrote', 'rule', 'outcome'],
    ledger.map((entry) => [
      `${entry.version.incarnation}/${entry.version.n}`,
      entry.user,
      show(entry.base),
      show(entry.theirs),
      show(entry.ours),
      entry.rule,
      entry.outcome,
    ]),
  );
  terminal.say('What no rule may decide waits as a SyncError, and stops nothing else:');
  const errors = await server.errors.list({ state: 'open' });
  terminal.table(
    ['record', 'kind', 'field', 'server has', 'author wrote', 'operations'],
    errors.flatMap((error) =>
      error.conflicts.map((conflict) => [
        `${conflict.table} ${conflict.record}`,
        error.kind,
        conflict.field ?? '(whole record)',
        show(conflict.theirs),
        show(conflict.ours),
        String(error.ranges.reduce((sum, range) => sum + range.to - range.from + 1, 0)),
      ]),
    ),
  );
  const own = await b.get('visits', cast.confirmed);
  terminal.say(
    `B still sees its own value, ${show(own?.status)}; others see ${show((await a.get('visits', cast.confirmed))?.status)}.`,
  );
};

/** Chapter: people decide: one error on the device, one centrally, the last by the author again. */
export const resolve = async (stage: Stage, a: Device, b: Device, cast: Cast): Promise<void> => {
  const { terminal, server } = stage;
  terminal.chapter('People resolve what rules may not');
  for (const error of await b.errors.list()) {
    if (error.record !== cast.confirmed) continue;
    const choices = error.conflicts.map(({ table, record, field }) => ({
      table,
      record,
      field,
      pick: 'mine' as const,
    }));
    await b.errors.resolve(error.id, { action: 'merge', choices });
    terminal.say('On device B: visit 10 keeps what B wrote; its whole transaction goes through.');
  }
  await sync(stage, 'device B', b);
  for (const error of await server.errors.list({ state: 'open' })) {
    const { verdict } = await server.errors.resolve(error.id, {
      action: 'take-server',
      user: 'administrator',
    });
    terminal.say(`Centrally: ${error.table} ${error.record}: take the server's side (${verdict}).`);
  }
  await sync(stage, 'device A', a);
  await sync(stage, 'device B', b);
  const open = await server.errors.list({ state: 'open' });
  terminal.say(`Open sync errors: ${open.length}.`);
};

/** Chapter: what a sync costs when little or nothing changed. */
export const incremental = async (stage: Stage, a: Device, cast: Cast): Promise<void> => {
  const { terminal, server } = stage;
  terminal.chapter('Incremental sync');
  await sync(stage, 'nothing changed', a);
  await server.write(
    (writer) => {
      for (let i = 0; i < 100; i += 1)
        writer.patch('visits', `visit-${String(1_000 + i).padStart(5, '0')}`, {
          status: 'confirmed',
        });
    },
    { user: 'dispatcher' },
  );
  await sync(stage, '100 changed   ', a);
  terminal.say(`Device A holds ${count(await a.count('cities'))} cities, ${cast.city} among them.`);
};

/** Chapter: server and devices hold the same contents. Returns whether they do. */
export const compare = async (stage: Stage, a: Device, b: Device): Promise<boolean> => {
  const { terminal, server, others } = stage;
  terminal.chapter('Everybody agrees');
  await sync(stage, 'device A', a);
  await sync(stage, 'device B', b);
  for (const other of others) await other.settle();
  const rows: string[][] = [];
  let equal = true;
  for (const table of tableNames) {
    const prints = [
      await server.fingerprint(table),
      ...(await Promise.all(others.map((other) => other.fingerprint(table)))),
      await a.fingerprint(table),
      await b.fingerprint(table),
    ];
    const same = prints.every((print) => print === prints[0]);
    equal &&= same;
    rows.push([table, ...prints.map((print) => print.slice(0, 16)), same ? 'equal' : 'DIFFERENT']);
  }
  const names = ['server', ...others.map((_, i) => `server ${i + 2}`), 'device A', 'device B'];
  terminal.table(['table', ...names, ''], rows);
  return equal;
};
