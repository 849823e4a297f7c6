import { writeFileSync } from 'node:fs';
import { defineSchema, field, natsTransport, openReplica, type Replica } from '@tidemark/node';
import { connectServer } from '@tidemark/server';
import { systemEntropy } from '@tidemark/node';
import { CommandFolder } from './command-line.js';
import { NatsServer } from './nats-server.js';
import { startServing, stopServing, type Serving } from './serving.js';

const schema = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1,
      fields: { subject: field.string(1, { required: true }), count: field.counter(2) },
    },
  },
});
type Device = Replica<typeof schema>;
type Log = Awaited<ReturnType<Device['sync']>>;

const tenant = 'acme';
const perTransaction = 100;
const countedRecords = 60;
const syncsMax = 20;

interface Status {
  readonly incarnation: number;
  readonly n: number;
  readonly digest: string;
}

/** What happened in a story of a backup. */
export interface BackupStory {
  /** Operations that devices did behind the backup. */
  readonly operations: number;
  /** Rows that the devices took after the restore with the stream, and after that without. */
  readonly upsertsWith: number;
  readonly upsertsWithout: number;
  readonly problems: readonly string[];
}

const movedBy = (log: Log): number => log.tables.reduce((sum, { upserts }) => sum + upserts, 0);

class Story {
  readonly #folder: CommandFolder;
  readonly #nats: NatsServer;
  readonly devices: Device[] = [];
  readonly problems: string[] = [];
  done = 0;

  constructor(folder: CommandFolder, nats: NatsServer) {
    this.#folder = folder;
    this.#nats = nats;
  }

  serve(): Promise<Serving> {
    return startServing(this.#folder, ['--nats', this.#nats.url]);
  }

  async command<A>(...args: string[]): Promise<A> {
    return this.#folder.json<A>(...args, '--nats', this.#nats.url);
  }

  expect(holds: boolean, what: string): void {
    if (!holds) this.problems.push(what);
  }

  async device(name: string): Promise<void> {
    const transport = natsTransport({ servers: [this.#nats.url], name });
    const folder = this.#folder.file(`device-${name}`);
    const device = await openReplica({ folder, tenant, user: name, schema, transport });
    this.devices.push(device);
  }

  /** Counts up, in turns, until so many operations are done over all devices. */
  async count(upTo: number): Promise<void> {
    await Promise.all(
      this.devices.map(async (device) => {
        while (this.done < upTo) {
          const first = this.done;
          this.done += perTransaction;
          await device.transaction(async (edits) => {
            for (let k = 0; k < perTransaction; k += 1)
              await edits.increment('visits', idOf((first + k) % countedRecords), 'count', 1);
          });
        }
      }),
    );
  }

  /** Syncs all devices until each is done; the rows that they took. */
  async sync(): Promise<number> {
    let upserts = 0;
    for (const device of [...this.devices, ...this.devices])
      for (let tried = 1; ; tried += 1) {
        const log = await device.sync();
        upserts += movedBy(log);
        if (log.result === 'synced') break;
        if (tried < syncsMax) continue;
        this.problems.push(`a run ended ${log.result} ${log.error ?? ''}`);
        break;
      }
    return upserts;
  }

  /** Devices and server hold every operation once. */
  async compare(when: string): Promise<Status> {
    const { out } = await this.#folder.call([
      ...['export', 'visits', '--format', 'json'],
      ...['--nats', this.#nats.url],
    ]);
    const rows = JSON.parse(out) as readonly { readonly id: string; readonly count: number }[];
    const total = rows.reduce((sum, { count }) => sum + count, 0);
    this.expect(total === this.done, `${when}: the server counts ${total} of ${this.done}`);
    for (const device of this.devices)
      for (const { id, count } of rows.slice(0, countedRecords)) {
        const found = (await device.get('visits', id))?.count;
        this.expect(
          found === count,
          `${when}: a device has ${String(found)}, not ${count}, at ${id}`,
        );
      }
    const prints = await Promise.all(this.devices.map((one) => one.fingerprint('visits')));
    this.expect(new Set(prints).size === 1, `${when}: devices differ`);
    return this.command<Status>('status');
  }

  async deleteStream(): Promise<void> {
    const connection = await connectServer({ servers: [this.#nats.url] }, systemEntropy);
    await connection.core.request(`$JS.API.STREAM.DELETE.OPS-${tenant}-1`);
    await connection.close();
  }

  async close(): Promise<void> {
    for (const device of this.devices) await device.close();
  }
}

const idOf = (at: number): string => `v${String(at).padStart(5, '0')}`;

/**
 * A backup while the server runs and devices edit; more operations; a restore with the command line, once with
 * the stream intact and once with it gone.
 */
export const tellBackupStory = async (
  entry: string,
  { records, operations }: { readonly records: number; readonly operations: number },
): Promise<BackupStory> => {
  const nats = await NatsServer.start();
  const folder = new CommandFolder(entry);
  const story = new Story(folder, nats);
  try {
    await folder.json('init', '--tenant', tenant);
    writeFileSync(
      folder.file('tidemark.schema.json'),
      JSON.stringify(schema.customization, null, 2),
    );
    const rows = Array.from({ length: records }, (_, i) => ({
      id: idOf(i),
      subject: `visit ${i}`,
      count: 0,
    }));
    writeFileSync(folder.file('v.ndjson'), rows.map((row) => JSON.stringify(row)).join('\n'));
    let serving = await story.serve();
    await story.command('import', 'visits', 'v.ndjson');
    for (const name of ['ana', 'ben', 'cyd']) await story.device(name);
    await story.sync();
    const before = story.devices.length * perTransaction;
    const editing = story.count(before).then(() => story.sync());
    const taken = await story.command<Status>('backup', 'copies');
    await editing;
    await story.count(before + operations);
    await story.sync();
    const original = await story.compare('before');
    story.expect(original.n > taken.n, 'nothing happened behind the backup');
    await stopServing(serving);

    const folded = await story.command<{ readonly newIncarnation: boolean }>(
      ...['restore', 'copies', '--replace'],
    );
    story.expect(!folded.newIncarnation, 'a restore with the stream began an incarnation');
    serving = await story.serve();
    const upsertsWith = await story.sync();
    const again = await story.compare('with the stream');
    story.expect(again.digest === original.digest, 'another digest from the same input');
    await stopServing(serving);

    await story.deleteStream();
    const begun = await story.command<{ readonly newIncarnation: boolean }>(
      ...['restore', 'copies', '--replace'],
    );
    story.expect(begun.newIncarnation, 'a restore without the stream began no incarnation');
    serving = await story.serve();
    const upsertsWithout = await story.sync();
    const last = await story.compare('without the stream');
    story.expect(last.incarnation === 2, `incarnation ${last.incarnation}`);
    await stopServing(serving);
    return { operations, upsertsWith, upsertsWithout, problems: story.problems };
  } finally {
    await story.close();
    await folder.dispose();
    await nats.dispose();
  }
};
