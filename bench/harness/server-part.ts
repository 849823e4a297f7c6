import { rm } from 'node:fs/promises';
import path from 'node:path';
import { openServer, type Server, type Tables } from '@tidemark/server';
import { contactId, noteId, shuffled, siteAt, siteFilter } from './crm.js';
import { datasetOf, type Dataset, type DataName } from './dataset.js';
import { editedStage, foreignStage } from './edits.js';

/** Where an actor's part lives. */
export interface Place {
  readonly folder: string;
  readonly tenant: string;
  /** Address of the nats-server; undefined: the server of the same process. */
  readonly natsUrl: string | undefined;
  readonly data: DataName;
  /** Folder of checkpoints; undefined: none are written. */
  readonly checkpoints?: string;
}

/** Operations of a device, as `edit` made them. */
export interface Edited {
  readonly count: number;
  readonly records: number;
  /** Records that are edited: the first so many of the shuffled ones. */
  readonly hot: number;
  readonly round: number;
  /** Each so manieth operation met an edit of somebody else; 0: none. */
  readonly conflictEvery: number;
}

/** Input that one run of a suite may write at most; the default of 1 GiB is less than ten million edits. */
const streamBytesMax = 64 * 2 ** 30;
const cursorKey = new Uint8Array(32).fill(7);
const user = 'import';

/** Seconds that a piece of work takes. */
export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1_000;
};

/** Server of the benchmarks. Every call may be timed inside. */
export class ServerPart {
  #server: Server<Tables> | undefined;
  #data: Dataset = datasetOf('crm');

  /** The open server. */
  server(): Server<Tables> {
    if (this.#server === undefined) throw new Error('no server is open');
    return this.#server;
  }

  /** Opens the server; returns the seconds until it answers. */
  openServer({ folder, tenant, natsUrl, data, checkpoints }: Place): Promise<number> {
    this.#data = datasetOf(data);
    return timed(async () => {
      this.#server = await openServer({
        folder,
        tenant,
        schema: this.#data.schema,
        cursorKey,
        ...(natsUrl === undefined
          ? {}
          : { nats: { connection: { servers: [natsUrl] }, streamBytesMax } }),
        ...(checkpoints === undefined
          ? {}
          : // The suites say when one is written.
            { checkpoints: { folder: checkpoints, everyOps: Number.MAX_SAFE_INTEGER } }),
      });
    });
  }

  /** Writes records as the server's own; returns seconds. */
  async import(from: number, to: number, round = 0): Promise<number> {
    await this.#data.load(to);
    return timed(() => this.server().write(this.#writes(from, to, round), { user }));
  }

  *#writes(from: number, to: number, round: number) {
    const { table, id, fields } = this.#data;
    for (let i = from; i < to; i += 1)
      yield { kind: 'put' as const, table, id: id(i), fields: fields(i, round) };
  }

  /** Changes `count` records spread over `records`. */
  async change(count: number, records: number, round: number): Promise<void> {
    const step = Math.max(1, Math.floor(records / Math.max(1, count)));
    const writes = function* (this: ServerPart) {
      for (let i = 0; i < count; i += 1) yield* this.#writes(i * step, i * step + 1, round);
    };
    await this.server().write(writes.call(this), { user });
  }

  /** Changes `count` records, none of the sites below `firstSites`. */
  async changeForeign(
    count: number,
    records: number,
    firstSites: number,
    round: number,
  ): Promise<void> {
    const writes = function* (this: ServerPart) {
      let left = count;
      for (let turn = 0; left > 0; turn += 1)
        for (let i = 0; i < records && left > 0; i += 1)
          if (siteAt(i) >= firstSites) {
            left -= 1;
            yield* this.#writes(i, i + 1, round + turn);
          }
    };
    await this.server().write(writes.call(this), { user });
  }

  /** Edits what a device edits meanwhile: field `stage` of each so manieth operation's record. */
  async interfere({ count, records, hot, round, conflictEvery }: Edited): Promise<void> {
    const order = shuffled(Math.min(hot, records));
    const writes = function* () {
      for (let i = 0; i < count; i += conflictEvery)
        yield {
          kind: 'patch' as const,
          table: 'contacts',
          id: contactId(order[i % order.length] ?? 0),
          fields: { stage: foreignStage(round, i) },
        };
    };
    await this.server().write(writes(), { user });
  }

  /** Asks for the history of `questions` random operations of a device; returns how many are told right. */
  async explainedRight(edited: Edited, questions: number): Promise<number> {
    const { count, records, hot, round, conflictEvery } = edited;
    const order = shuffled(Math.min(hot, records));
    const asked = shuffled(count, round).subarray(0, questions);
    let right = 0;
    for (const i of asked) {
      const id = contactId(order[i % order.length] ?? 0);
      const told = await this.server().explain('contacts', id, 'stage');
      const wanted = editedStage(round, i);
      const found = told.filter(({ ours }) => ours === wanted);
      const isConflict = conflictEvery > 0 && i % conflictEvery === 0;
      const [one] = found;
      if (
        one !== undefined &&
        found.length === 1 &&
        (isConflict
          ? one.outcome === 'superseded' &&
            one.result === foreignStage(round, i) &&
            one.theirs === foreignStage(round, i)
          : one.outcome === 'applied' && one.result === wanted && one.theirs === one.base)
      )
        right += 1;
    }
    return right;
  }

  /** Creates the one note on the server, empty. */
  async createNote(): Promise<void> {
    const put = { kind: 'put', table: 'notes', id: noteId, fields: { text: '' } } as const;
    await this.server().write([put], { user });
  }

  /** Writes a checkpoint. */
  async checkpoint(): Promise<void> {
    if ((await this.server().checkpoint()) === undefined) throw new Error('no checkpoint');
  }

  /** Fingerprint of the table on the server, of this process. */
  async serverFingerprint(): Promise<string> {
    return this.server().fingerprint(this.#data.table);
  }

  /** Tells whether `count` records, evenly spread, are on the server as they were imported. */
  async verifyImported(records: number, count = 200): Promise<boolean> {
    const { table, id, fields, load } = this.#data;
    await load(records);
    const step = Math.max(1, Math.floor(records / count));
    for (let i = 0; i < records; i += step) {
      const found = await this.server().get(table, id(i));
      for (const [name, value] of Object.entries(fields(i, 0)))
        if (found === undefined || found[name] !== value) return false;
    }
    return true;
  }

  /** Number of records of the table. */
  async serverCount(): Promise<number> {
    return Number((await this.serverFingerprint()).split('-')[0]);
  }

  /** Text of the one note on the server. */
  async serverNote(): Promise<string> {
    return ((await this.server().get('notes', noteId))?.['text'] as string | null) ?? '';
  }

  /** Fingerprint of the records of a site. */
  async siteFingerprint(site: number): Promise<string> {
    return this.server().fingerprint('contacts', { filter: siteFilter(site) });
  }

  /** Edits one record of each site below `count`. */
  async touchSites(count: number, stage: string): Promise<void> {
    const writes = function* () {
      const left = new Set(Array.from({ length: count }, (_, site) => site));
      for (let i = 0; left.size > 0; i += 1)
        if (left.delete(siteAt(i)))
          yield {
            kind: 'patch' as const,
            table: 'contacts',
            id: contactId(i),
            fields: { stage },
          };
    };
    await this.server().write(writes(), { user });
  }

  async closeServer(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  /** Closes the server and removes what it stores, but neither its input nor its checkpoints. */
  async loseStore({ folder, natsUrl }: Place): Promise<void> {
    await this.closeServer();
    const lost = natsUrl === undefined ? path.join(folder, 'store') : folder;
    await rm(lost, { recursive: true, force: true });
  }
}
