import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openReplica, TidemarkError, type Replica, type Transport } from '@tidemark/node';
import { SeededRandom } from '../convergence/seeded-random.js';
import { Spares, type Child } from './child.js';
import type { CampaignOptions } from './device-kills.js';
import { callOfLife, inCallEvery } from './dying-storage.js';
import { channelTransport } from './ipc-transport.js';
import { schema, serverStep, tallyId, tenant } from './kill-schema.js';
import { buildProgram } from './program.js';
import type { BatchCount, ServerSaying } from './server-victim.js';
import { settlingRun } from './settling-run.js';

/** What a campaign of kills met, and how it ended. */
export interface ServerKills {
  readonly kills: number;
  /** Kills in a storage call, each in another one. */
  readonly killedInCall: number;
  /** Kills before the server was open, while a write was under way, and while a run was. */
  readonly killedOpening: number;
  readonly killedWriting: number;
  readonly killedInRun: number;
  readonly batches: number;
  readonly edits: number;
  /** Empty when nothing was lost or doubled: otherwise each difference that was found. */
  readonly problems: readonly string[];
}

type Device = Replica<typeof schema>;
type Victim = Child<ServerSaying>;

const recordsPerBatch = 20;

/** Time within which an open life comes to the storage call that it is killed in, ms. */
const lifeMsMax = 700;

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A device of the parent: what it made, and what it counted. */
class Editor {
  readonly replica: Device;
  readonly name: string;
  readonly subjects = new Map<string, string>();
  readonly counts = new Map<string, number>();
  counted = 0;
  edits = 0;

  constructor(name: string, replica: Device) {
    this.name = name;
    this.replica = replica;
  }

  async edit(random: SeededRandom): Promise<void> {
    this.edits += 1;
    const ids = [...this.subjects.keys()];
    const kind = ids.length === 0 ? 0 : random.below(100);
    if (kind < 30) {
      const id = `${this.name}-${this.edits}`;
      await this.replica.create('visits', { subject: 'new' }, { id });
      this.subjects.set(id, 'new');
    } else if (kind < 50) {
      const id = random.pick(ids);
      const subject = `changed ${this.edits}`;
      await this.replica.update('visits', id, { subject });
      this.subjects.set(id, subject);
    } else {
      const id = random.pick(ids);
      await this.replica.transaction(async (edits) => {
        await edits.increment('visits', id, 'count', 1);
        await edits.increment('tally', tallyId, 'total', 1);
      });
      this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
      this.counted += 1;
    }
  }
}

/** Campaign against one folder. */
class ServerCampaign {
  readonly problems: string[] = [];
  readonly counts = {
    ...{ kills: 0, killedInCall: 0, killedOpening: 0, killedWriting: 0 },
    ...{ killedInRun: 0, batches: 0 },
  };
  readonly #random: SeededRandom;
  readonly #spares: Spares<ServerSaying>;
  readonly #folder: string;
  readonly #editors: Editor[] = [];
  /** Batches that were promised, and the one that may or may not be there. */
  readonly #written = new Set<number>();
  #asked = 0;
  #victim: Victim | undefined;
  #transport: Transport | undefined;

  constructor(random: SeededRandom, program: string, folder: string) {
    this.#random = random;
    this.#spares = new Spares(program);
    this.#folder = folder;
  }

  /** The way to whichever server lives. */
  readonly transport: Transport = {
    open: (caller, signal) =>
      this.#transport === undefined
        ? Promise.reject(new TidemarkError('unreachable', 'no server lives'))
        : this.#transport.open(caller, signal),
  };

  start(diesAt = 0): Victim {
    const victim: Victim = this.#spares.begin([this.#folder, String(diesAt)]);
    this.#victim = victim;
    this.#transport = channelTransport(victim.channel);
    return victim;
  }

  async openDevices(): Promise<void> {
    for (const name of ['ana', 'ben'])
      this.#editors.push(
        new Editor(
          name,
          await openReplica({
            folder: path.join(this.#folder, name),
            tenant,
            user: name,
            schema,
            transport: this.transport,
          }),
        ),
      );
  }

  /** Checks that a server that was opened again has every batch whole, and each promised one. */
  #checkOpen(victim: Victim): void {
    const open = victim.heard.find((one) => one.say === 'open');
    if (open === undefined) {
      this.counts.killedOpening += 1;
      return;
    }
    const found = this.#checkBatches(open.batches);
    // What was stored without a promise is known from now on.
    for (const batch of found) this.#written.add(batch);
    const steps = Math.floor(open.tally / serverStep);
    if (steps !== found.size)
      this.#report(`${found.size} batches, but ${steps} steps of the tally`);
  }

  /** Each batch must be whole, and each known one there. */
  #checkBatches(batches: readonly BatchCount[]): ReadonlySet<number> {
    const found = new Set<number>();
    for (const { batch, records } of batches) {
      found.add(batch);
      if (records !== recordsPerBatch) this.#report(`batch ${batch} has ${records} records`);
    }
    for (const batch of this.#written)
      if (!found.has(batch)) this.#report(`batch ${batch} was promised and is gone`);
    return found;
  }

  #report(problem: string): void {
    this.problems.push(`life ${this.counts.kills}: ${problem}`);
  }

  #hearWritten(victim: Victim): void {
    for (const saying of victim.heard)
      if (saying.say === 'written') this.#written.add(saying.batch);
  }

  async firstLife(): Promise<void> {
    const victim = this.start();
    await victim.hear('open');
    victim.tell({ say: 'write', batch: 0, records: recordsPerBatch } as never);
    this.#asked = 1;
    await victim.hear('written');
    this.#written.add(0);
    for (const { replica } of this.#editors) {
      const log = await settlingRun(replica);
      if (log.result !== 'synced') this.#report(`the first run ended ${log.result}`);
    }
  }

  /** One life: writes and edits and runs until the kill. */
  async life(): Promise<void> {
    const random = this.#random;
    const opening = random.chance(14);
    const isInCall = this.counts.kills % inCallEvery === 0;
    const victim = this.start(isInCall ? callOfLife(this.counts.killedInCall) : 0);
    if (!opening && !isInCall) await victim.hear('open');
    const stop = new AbortController();
    const work = this.#editors.map((editor) => this.#work(editor, random.fork(), stop.signal));
    const writing = this.#writeUntil(victim, stop.signal);
    if (isInCall) {
      this.counts.killedInCall += 1;
      // A life that comes to fewer calls is ended like the others.
      await victim.hear('open');
      await Promise.race([victim.gone, wait(lifeMsMax)]);
    } else await wait(random.below(random.chance(50) ? 80 : 400));
    this.counts.killedInRun += this.#editors.some(({ replica }) => replica.status.phase !== 'idle')
      ? 1
      : 0;
    const gone = victim.kill();
    stop.abort();
    await gone;
    await Promise.all([...work, writing]);
    // What it had when it was opened comes first, then what it wrote in this life.
    this.#checkOpen(victim);
    this.#hearWritten(victim);
    if (this.#asked > Math.max(...this.#written) + 1) this.counts.killedWriting += 1;
    if (victim.endedBy !== 'SIGKILL') this.#report(`the server ended by ${victim.endedBy}`);
    if (victim.errorText !== '') this.#report(victim.errorText);
    this.counts.kills += 1;
  }

  async #writeUntil(victim: Victim, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      victim.tell({ say: 'write', batch: this.#asked, records: recordsPerBatch } as never);
      this.#asked += 1;
      this.counts.batches += 1;
      await wait(10 + this.#random.below(40));
    }
  }

  async #work(editor: Editor, random: SeededRandom, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await editor.edit(random);
      if (random.chance(40)) {
        const { error, result } = await editor.replica.sync({ signal });
        const expected = signal.aborted || error === 'unreachable' || result === 'synced';
        if (!expected && result !== 'pending') this.#report(`a run ended ${result} ${error ?? ''}`);
      }
      await wait(random.below(10));
    }
  }

  /** The last life: everything settles, and all agree with what was promised. */
  async lastLife(): Promise<void> {
    const victim = this.start();
    const open = await victim.hear('open');
    if (open === undefined) {
      this.#report(`the last server did not open: ${victim.errorText}`);
      return;
    }
    this.#checkOpen(victim);
    for (const { replica, name } of [...this.#editors, ...this.#editors]) {
      const { result, error } = await settlingRun(replica);
      if (result !== 'synced') this.#report(`${name} ended ${result} ${error ?? ''}`);
    }
    victim.tell({ say: 'rest' });
    const rest = await victim.hear('rest');
    if (rest === undefined) return this.#report(`no rest: ${victim.errorText}`);
    const counted = this.#editors.reduce((sum, editor) => sum + editor.counted, 0);
    this.#expect('tally', rest.tally, this.#written.size * serverStep + counted);
    this.#expect('sync errors', rest.errors, 0);
    this.#expect('batches', this.#checkBatches(rest.batches).size, this.#written.size);
    const shown = rest.visits.map(({ id, subject, count }) => `${id} ${subject} ${count}`);
    const wanted = this.#editors.flatMap(({ subjects, counts }) =>
      [...subjects].map(([id, subject]) => `${id} ${subject} ${counts.get(id) ?? 0}`),
    );
    this.#expect('visits', shown.sort().join('\n'), wanted.sort().join('\n'));
    for (const { replica, name } of this.#editors) {
      const prints = [await replica.fingerprint('visits'), await replica.fingerprint('tally')];
      this.#expect(`fingerprints of ${name}`, prints.join(), rest.fingerprints.join());
      this.#expect(`${name} synced`, replica.status.synced, true);
    }
  }

  #expect(what: string, is: unknown, wanted: unknown): void {
    if (is !== wanted) this.#report(`${what}: ${String(is)} instead of ${String(wanted)}`);
  }

  get edits(): number {
    return this.#editors.reduce((sum, { edits }) => sum + edits, 0);
  }

  async killVictim(): Promise<void> {
    await this.#victim?.kill();
  }

  async dispose(): Promise<void> {
    await this.#spares.dispose();
  }

  async closeDevices(): Promise<void> {
    for (const { replica } of this.#editors) await replica.close();
  }
}

/**
 * Kills a server process at random moments while two devices of this process edit and sync and while it
 * writes; at the end all must agree with what was promised.
 */
export const killServers = async (options: CampaignOptions): Promise<ServerKills> => {
  const program = await buildProgram('server-victim');
  const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-server-kills-'));
  const campaign = new ServerCampaign(new SeededRandom(options.seed), program, folder);
  const { counts, problems } = campaign;
  try {
    await campaign.openDevices();
    await campaign.firstLife();
    await campaign.killVictim();
    counts.kills += 1;
    while (counts.kills < options.kills && problems.length === 0) {
      if (options.endsAtMs !== undefined && Date.now() > options.endsAtMs) break;
      await campaign.life();
    }
    if (problems.length === 0) await campaign.lastLife();
  } finally {
    await campaign.closeDevices();
    await campaign.killVictim();
    await campaign.dispose();
    await rm(folder, { recursive: true, force: true });
  }
  return { ...counts, edits: campaign.edits, problems };
};
