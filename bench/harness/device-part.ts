import {
  natsTransport,
  openReplica,
  type AnySchema,
  type NatsTransport,
  type Replica,
  type SyncLog,
  type Transport,
} from '@tidemark/node';
import { contactId, noteId, shuffled, typedWord } from './crm.js';
import { datasetOf, type Dataset } from './dataset.js';
import { editedStage, opsPerTransaction } from './edits.js';
import { timed, type Edited, type Place } from './server-part.js';

/** What a run of sync came to. */
export interface Synced {
  readonly seconds: number;
  readonly bytes: number;
  /** Seconds until the first record could be read; undefined when it was there before. */
  readonly firstReadable: number | undefined;
}

/** What an upload came to. */
export interface Uploaded {
  /** Until the receipt of the last operation was stored. */
  readonly seconds: number;
  /** Until everything that the server made of it was downloaded, too. */
  readonly secondsWithDownload: number;
  readonly bytes: number;
  readonly runs: number;
}

/** How far a download came that is killed now. */
export interface Reached {
  /** Records that were there already, as far as the first news of the run told; null: nothing was left to do. */
  readonly begunAt: number | null;
  readonly done: number;
  readonly seconds: number;
}

const pollMs = 10;
/** Runs in a row that may end before their receipts, while the server merges a long upload. */
const runsMax = 1_000;
const liveRounds = 1_000;

/** Device of the benchmarks. Every call may be timed inside. */
export class DevicePart {
  readonly #local: () => Transport;
  #replica: Replica<AnySchema> | undefined;
  #transport: NatsTransport | undefined;
  #data: Dataset = datasetOf('crm');
  /** Counts calls that edit, so that none writes the values of an earlier one, which would be no edits. */
  #rounds = 0;

  /** `local` gives the transport to a server of this process. */
  constructor(local: () => Transport) {
    this.#local = local;
  }

  #open(): Replica<AnySchema> {
    if (this.#replica === undefined) throw new Error('no device is open');
    return this.#replica;
  }

  /** Opens the device; returns seconds. `firstRound` keeps its edits apart from those of an earlier process. */
  openDevice({ folder, tenant, natsUrl, data }: Place, firstRound = 0): Promise<number> {
    this.#data = datasetOf(data);
    this.#rounds = Math.max(this.#rounds, firstRound);
    if (natsUrl !== undefined) this.#transport ??= natsTransport({ servers: [natsUrl] });
    const transport = this.#transport ?? this.#local();
    const { schema } = this.#data;
    return timed(async () => {
      this.#replica = await openReplica({ folder, tenant, user: 'device', schema, transport });
    });
  }

  /** Runs syncs until one leaves nothing to do. */
  async sync(): Promise<Synced> {
    const replica = this.#open();
    const { table, id } = this.#data;
    const started = performance.now();
    const since = (): number => (performance.now() - started) / 1_000;
    let firstReadable: number | undefined;
    const isEmpty = (await replica.get(table, id(0))) === undefined;
    const poll = isEmpty
      ? setInterval(() => {
          if (firstReadable === undefined)
            void replica.get(table, id(0)).then((record) => {
              if (record !== undefined) firstReadable ??= since();
            });
        }, pollMs)
      : undefined;
    let bytes = 0;
    let result: SyncLog['result'] = 'pending';
    for (let run = 0; result === 'pending' && run < runsMax; run += 1) {
      const log = await replica.sync();
      ({ result } = log);
      bytes += log.downloadedBytes + log.uploadedBytes;
    }
    clearInterval(poll);
    if (result !== 'synced') throw new Error(`sync ended ${result}`);
    return {
      seconds: since(),
      bytes,
      firstReadable: isEmpty ? (firstReadable ?? since()) : undefined,
    };
  }

  /** Syncs so many times: each run folds a bounded part of what earlier ones brought. */
  async restingSyncs(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) await this.sync();
  }

  /** Begins a first sync and answers when so many records are staged, while it goes on; or when it ended. */
  async syncUntil(records: number): Promise<Reached> {
    const replica = this.#open();
    const started = performance.now();
    const ended = replica.sync().then(() => true);
    let done = 0;
    let begunAt: number | undefined;
    for (let isOver = false; !isOver && done < records;) {
      isOver = await Promise.race([
        ended,
        new Promise<boolean>((resolve) => void setTimeout(resolve, pollMs, false)),
      ]);
      done = replica.status.progress?.done ?? done;
      if (done > 0) begunAt ??= done;
    }
    return { begunAt: begunAt ?? null, done, seconds: (performance.now() - started) / 1_000 };
  }

  /** Edits `count` times, in transactions of 100, over records in random order, or the first `hot` of them. */
  async edit(count: number, records: number, hot: number, one = false): Promise<Edited> {
    const replica = this.#open();
    const order = shuffled(Math.min(hot, records));
    const perTransaction = one ? 1 : opsPerTransaction;
    const at = (i: number): number => order[i % order.length] ?? 0;
    this.#rounds += 1;
    const round = this.#rounds;
    for (let from = 0; from < count; from += perTransaction)
      await replica.transaction(async (edits) => {
        for (let i = from; i < Math.min(count, from + perTransaction); i += 1)
          await edits.update('contacts', contactId(at(i)), {
            amount: i,
            stage: editedStage(round, i),
          });
      });
    return { count, records, hot, round, conflictEvery: 0 };
  }

  /** Seconds of `edit`. */
  editTimed(count: number, records: number): Promise<number> {
    return timed(() => this.edit(count, records, records));
  }

  /** Edits that wait for each other, one operation each. */
  async editOneByOne(count: number, records: number): Promise<number> {
    const replica = this.#open();
    const order = shuffled(records);
    this.#rounds += 1;
    const round = this.#rounds;
    return timed(async () => {
      for (let i = 0; i < count; i += 1)
        await replica.update('contacts', contactId(order[i % records] ?? 0), {
          stage: editedStage(round, i),
        });
    });
  }

  /** Edits of so many writers, each of which waits for its own. */
  async editConcurrently(
    count: number,
    records: number,
    writers: number,
    durability: 'os' | 'disk',
  ): Promise<number> {
    const replica = this.#open();
    const order = shuffled(records);
    this.#rounds += 1;
    const round = this.#rounds;
    let next = 0;
    const writer = async (): Promise<void> => {
      for (let i = next++; i < count; i = next++)
        await replica.update(
          'contacts',
          contactId(order[i % records] ?? 0),
          { stage: editedStage(round, i) },
          { durability },
        );
    };
    return timed(() => Promise.all(Array.from({ length: writers }, writer)));
  }

  /** Median seconds from the call of an edit until a live query over `results` records shows it. */
  async seeEdits(results: number, records: number): Promise<number> {
    const replica = this.#open();
    const shownMax = Math.min(results, records);
    this.#rounds += 1;
    const round = this.#rounds;
    let wanted = { id: '', stage: '' };
    let seen: () => void = () => undefined;
    let first: (count: number) => void = () => undefined;
    const begun = new Promise<number>((resolve) => {
      first = resolve;
    });
    const stop = replica.watchWith('contacts', { limit: shownMax }, (shown) => {
      first(shown.length);
      const found = shown.find(({ id }) => id === wanted.id);
      if (found?.['stage'] === wanted.stage) seen();
    });
    try {
      const count = await begun;
      if (count !== shownMax) throw new Error(`the live query shows ${count} records`);
      const seconds: number[] = [];
      for (let i = 0; i < liveRounds; i += 1) {
        wanted = { id: contactId((i * 7_919) % shownMax), stage: editedStage(round, i) };
        const shows = new Promise<void>((resolve) => {
          seen = resolve;
        });
        const started = performance.now();
        await replica.update('contacts', wanted.id, { stage: wanted.stage });
        await shows;
        seconds.push((performance.now() - started) / 1_000);
      }
      return seconds.sort((a, b) => a - b)[Math.floor(liveRounds / 2)] ?? 0;
    } finally {
      stop();
    }
  }

  /** Types words at the end of the one note, each an edit of its own. */
  async type(author: number, count: number): Promise<number> {
    const replica = this.#open();
    let at = ((await replica.get('notes', noteId))?.['text'] as string | null)?.length ?? 0;
    return timed(async () => {
      for (let i = 0; i < count; i += 1) {
        const insert = typedWord(author, i);
        await replica.editText('notes', noteId, 'text', { at, remove: 0, insert });
        at += insert.length;
      }
    });
  }

  /** Text of the one note on the device. */
  async note(): Promise<string> {
    return ((await this.#open().get('notes', noteId))?.['text'] as string | null) ?? '';
  }

  /** Operations that no receipt covers. */
  pending(): number {
    return this.#open().status.pending.operations;
  }

  /** Uploads until the receipt of everything is stored on the device, and what the server made of it is here. */
  async upload(): Promise<Uploaded> {
    const replica = this.#open();
    const started = performance.now();
    const since = (): number => (performance.now() - started) / 1_000;
    let received: number | undefined;
    const stop = replica.onStatus(({ pending }) => {
      if (pending.operations === 0) received ??= since();
    });
    let bytes = 0;
    let runs = 0;
    try {
      for (let isOver = false; !isOver && runs < runsMax; runs += 1) {
        const log = await replica.sync();
        if (log.result === 'failed') throw new Error(`sync failed: ${log.error ?? ''}`);
        bytes += log.uploadedBytes + log.downloadedBytes;
        isOver = log.result === 'synced' && replica.status.pending.operations === 0;
      }
    } finally {
      stop();
    }
    if (replica.status.pending.operations > 0) throw new Error('the upload did not end');
    const seconds = since();
    return { seconds: received ?? seconds, secondsWithDownload: seconds, bytes, runs };
  }

  /** Tells whether `count` contacts, evenly spread, are on the device with the fields that no suite edits. */
  async verify(records: number, count = 200): Promise<boolean> {
    const replica = this.#open();
    const { table, id, fields } = this.#data;
    const step = Math.max(1, Math.floor(records / count));
    for (let i = 0; i < records; i += step) {
      const found = await replica.get(table, id(i));
      if (found?.['email'] !== fields(i, 0)['email']) return false;
    }
    return true;
  }

  async deviceFingerprint(): Promise<string> {
    return this.#open().fingerprint(this.#data.table);
  }

  async closeDevice(): Promise<void> {
    await this.#replica?.close();
    this.#replica = undefined;
  }

  async disconnect(): Promise<void> {
    await this.closeDevice();
    await this.#transport?.disconnect();
    this.#transport = undefined;
  }
}
