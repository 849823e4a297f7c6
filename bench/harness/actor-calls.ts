import { natsTransport, openReplica, type NatsTransport, type Replica } from '@tidemark/node';
import { openServer, type Server } from '@tidemark/server';
import {
  contactAt,
  contactId,
  contactWrites,
  noteId,
  schema,
  shuffled,
  typedWord,
  type BenchTables,
} from './crm.js';
import type { Usage } from './usage.js';

/** Where an actor's part lives. */
export interface Place {
  readonly folder: string;
  readonly tenant: string;
  /** Address of the nats-server; undefined: the server of the same process. */
  readonly natsUrl: string | undefined;
}

/** What a run of sync came to. */
export interface Synced {
  readonly seconds: number;
  readonly bytes: number;
  /** Seconds until the first record could be read; undefined when it was there before. */
  readonly firstReadable: number | undefined;
}

type BenchServer = Server<BenchTables>;
type BenchReplica = Replica<typeof schema>;

const pollMs = 10;
const opsPerTransaction = 100;
/** Runs in a row that may end before their receipts, while the server merges a long upload. */
const runsMax = 1_000;

const must = <T>(value: T | undefined, what: string): T => {
  if (value === undefined) throw new Error(`no ${what} is open`);
  return value;
};

/** Seconds that a piece of work takes. */
const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1_000;
};

/** Server and device of the benchmarks, as one process or two play them. Every call may be timed inside. */
export class ActorCalls {
  #server: BenchServer | undefined;
  #replica: BenchReplica | undefined;
  #transport: NatsTransport | undefined;
  /** Counts calls that edit, so that none writes the values of an earlier one, which would be no edits. */
  #rounds = 0;

  /** Opens the server; returns the seconds until it answers. */
  async openServer({ folder, tenant, natsUrl }: Place): Promise<number> {
    return timed(async () => {
      this.#server = await openServer({
        folder,
        tenant,
        schema,
        ...(natsUrl === undefined ? {} : { nats: { connection: { servers: [natsUrl] } } }),
      });
    });
  }

  /** Writes records as the server's own; returns seconds. */
  async import(from: number, to: number, round = 0): Promise<number> {
    const server = must(this.#server, 'server');
    return timed(() => server.write(contactWrites(from, to, round), { user: 'import' }));
  }

  /** Changes `count` records spread over `records`. */
  async change(count: number, records: number, round: number): Promise<void> {
    const step = Math.max(1, Math.floor(records / Math.max(1, count)));
    const writes = function* () {
      for (let i = 0; i < count; i += 1) yield* contactWrites(i * step, i * step + 1, round);
    };
    await must(this.#server, 'server').write(writes(), { user: 'import' });
  }

  async openDevice({ folder, tenant, natsUrl }: Place): Promise<number> {
    if (natsUrl !== undefined) this.#transport ??= natsTransport({ servers: [natsUrl] });
    const transport = this.#transport ?? must(this.#server, 'server').transport;
    return timed(async () => {
      this.#replica = await openReplica({ folder, tenant, user: 'device', schema, transport });
    });
  }

  /** Runs syncs until one leaves nothing to do. */
  async sync(): Promise<Synced> {
    const replica = must(this.#replica, 'device');
    const started = performance.now();
    const since = (): number => (performance.now() - started) / 1_000;
    let firstReadable: number | undefined;
    const isEmpty = (await replica.get('contacts', contactId(0))) === undefined;
    const poll = isEmpty
      ? setInterval(() => {
          if (firstReadable === undefined)
            void replica.get('contacts', contactId(0)).then((record) => {
              if (record !== undefined) firstReadable ??= since();
            });
        }, pollMs)
      : undefined;
    let bytes = 0;
    let result = 'pending';
    for (let run = 0; result === 'pending' && run < runsMax; run += 1) {
      const log = await replica.sync();
      ({ result } = log);
      bytes += log.downloadedBytes;
    }
    clearInterval(poll);
    if (result !== 'synced') throw new Error(`sync ended ${result}`);
    return {
      seconds: since(),
      bytes,
      firstReadable: isEmpty ? (firstReadable ?? since()) : undefined,
    };
  }

  /** Edits `count` times, in transactions of 100, over records in random order, or the first `hot` of them. */
  async edit(count: number, records: number, hot: number, one = false): Promise<number> {
    const replica = must(this.#replica, 'device');
    const order = shuffled(Math.min(hot, records));
    const perTransaction = one ? 1 : opsPerTransaction;
    const at = (i: number): number => order[i % order.length] ?? 0;
    this.#rounds += 1;
    const round = this.#rounds;
    return timed(async () => {
      for (let from = 0; from < count; from += perTransaction)
        await replica.transaction(async (edits) => {
          for (let i = from; i < Math.min(count, from + perTransaction); i += 1)
            await edits.update('contacts', contactId(at(i)), {
              amount: i,
              stage: `edit ${round}.${i}`,
            });
        });
    });
  }

  /** Edits that wait for each other, one operation each. */
  async editOneByOne(count: number, records: number): Promise<number> {
    const replica = must(this.#replica, 'device');
    const order = shuffled(records);
    this.#rounds += 1;
    const round = this.#rounds;
    return timed(async () => {
      for (let i = 0; i < count; i += 1)
        await replica.update('contacts', contactId(order[i % records] ?? 0), {
          stage: `one ${round}.${i}`,
        });
    });
  }

  /** Types words at the end of the one note, each an edit of its own. */
  async type(author: number, count: number): Promise<number> {
    const replica = must(this.#replica, 'device');
    return timed(async () => {
      for (let i = 0; i < count; i += 1) {
        const text = (await replica.get('notes', noteId))?.['text'] ?? '';
        const edit = { at: text.length, remove: 0, insert: typedWord(author, i) };
        await replica.editText('notes', noteId, 'text', edit);
      }
    });
  }

  /** Text of the one note on the device. */
  async note(): Promise<string> {
    return (await must(this.#replica, 'device').get('notes', noteId))?.['text'] ?? '';
  }

  /** Creates the one note on the server, empty. */
  async createNote(): Promise<void> {
    const put = { kind: 'put', table: 'notes', id: noteId, fields: { text: '' } } as const;
    await must(this.#server, 'server').write([put], { user: 'import' });
  }

  /** Uploads until the receipt of everything is stored on the device. */
  async upload(): Promise<number> {
    const replica = must(this.#replica, 'device');
    return timed(async () => {
      for (let run = 0; replica.status.pending.operations > 0 && run < runsMax; run += 1) {
        const log = await replica.sync();
        if (log.result === 'failed') throw new Error(`sync failed: ${log.error ?? ''}`);
      }
      if (replica.status.pending.operations > 0) throw new Error('the upload did not end');
    });
  }

  /** Tells whether `count` records, evenly spread, are on the device as the server has them. */
  async verify(records: number, count = 200): Promise<boolean> {
    const replica = must(this.#replica, 'device');
    const step = Math.max(1, Math.floor(records / count));
    for (let i = 0; i < records; i += step) {
      const found = await replica.get('contacts', contactId(i));
      if (found === undefined || found['email'] !== contactAt(i).email) return false;
    }
    return true;
  }

  /** Fingerprint of the table on the server, of this process. */
  async serverFingerprint(): Promise<string> {
    return JSON.stringify(await must(this.#server, 'server').fingerprint('contacts'));
  }

  async deviceFingerprint(): Promise<string> {
    return JSON.stringify(await must(this.#replica, 'device').fingerprint('contacts'));
  }

  usage(): Usage {
    const { user, system } = process.cpuUsage();
    return {
      peakRssMb: Math.round(process.resourceUsage().maxRSS / 1_024),
      cpuSeconds: (user + system) / 1e6,
    };
  }

  async closeDevice(): Promise<void> {
    await this.#replica?.close();
    this.#replica = undefined;
  }

  async close(): Promise<void> {
    await this.closeDevice();
    await this.#transport?.disconnect();
    this.#transport = undefined;
    await this.#server?.close();
    this.#server = undefined;
  }
}
