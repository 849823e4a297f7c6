import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openServer } from '@tidemark/server';
import { MemoryLevel } from 'memory-level';
import { SeededRandom } from '../convergence/seeded-random.js';
import { Spares, type Child } from './child.js';
import type { VictimSaying } from './device-victim.js';
import { callOfLife, inCallEvery } from './dying-storage.js';
import { everyVisit } from './every-visit.js';
import { serveChannel } from './ipc-transport.js';
import {
  applyEdit,
  emptyState,
  schema,
  serverStep,
  stateText,
  tallyId,
  tenant,
  type DeviceState,
  type Edit,
  type Visit,
} from './kill-schema.js';
import { buildProgram } from './program.js';

/** What a campaign of kills met, and how it ended. */
export interface DeviceKills {
  readonly kills: number;
  /** Kills in a storage call, each in another one. */
  readonly killedInCall: number;
  /** Kills before the replica was open, while an edit was under way, and while a run was. */
  readonly killedOpening: number;
  readonly killedEditing: number;
  readonly promised: number;
  /** Edits that were stored although the kill came before their promise. */
  readonly storedUnpromised: number;
  readonly runsEnded: number;
  /** Empty when nothing was lost or doubled: otherwise each difference that was found. */
  readonly problems: readonly string[];
}

/** How many kills, and until when at the latest. */
export interface CampaignOptions {
  readonly seed: number;
  readonly kills: number;
  readonly endsAtMs?: number;
}

/** Time within which an open life comes to the storage call that it is killed in, ms. */
const lifeMsMax = 700;

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const stateOf = (visits: readonly Visit[], counted: number): DeviceState => ({
  visits: new Map(visits.map((visit) => [visit.id, visit])),
  counted,
});

/** The promises of all lives so far, and the one edit whose promise is not known. */
class Promises {
  state = emptyState;
  unsure: Edit | undefined;
  promised = 0;
  storedUnpromised = 0;

  /** Compares what a device shows after it was opened again, and learns what became of the unsure edit. */
  settleBy(visits: readonly Visit[]): string | undefined {
    const shown = stateText(stateOf(visits, 0));
    const textOf = (state: DeviceState): string => stateText({ ...state, counted: 0 });
    const without = textOf(this.state);
    const { unsure } = this;
    this.unsure = undefined;
    if (shown === without) return undefined;
    if (unsure === undefined) return `promised\n${without}\nshown\n${shown}`;
    const stored = applyEdit(this.state, unsure);
    if (shown !== textOf(stored))
      return `promised\n${without}\nunsure ${JSON.stringify(unsure)}\nshown\n${shown}`;
    this.state = stored;
    this.storedUnpromised += 1;
    return undefined;
  }

  hear(sayings: readonly VictimSaying[]): void {
    for (const saying of sayings) {
      if (saying.say === 'begins') this.unsure = saying.edit;
      if (saying.say !== 'promised' || this.unsure === undefined) continue;
      this.state = applyEdit(this.state, this.unsure);
      this.unsure = undefined;
      this.promised += 1;
    }
  }
}

const memoryDatabase = () =>
  new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });

/**
 * Kills a device process at random moments, opens its folder in the next one, and compares what it shows
 * with what was promised; at the end a last run must settle, and server and device must agree with it.
 */
export const killDevices = async (options: CampaignOptions): Promise<DeviceKills> => {
  const random = new SeededRandom(options.seed);
  const program = await buildProgram('device-victim');
  const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-device-kills-'));
  const server = await openServer({
    tenant,
    schema,
    database: { store: memoryDatabase(), input: memoryDatabase() },
  });
  const promises = new Promises();
  const problems: string[] = [];
  const counts = { kills: 0, killedInCall: 0, killedOpening: 0, killedEditing: 0, runsEnded: 0 };
  const spares = new Spares<VictimSaying>(program);
  const start = (...args: readonly string[]): Child<VictimSaying> => {
    const child = spares.begin([folder, ...args]);
    serveChannel(child.channel, server.transport);
    return child;
  };
  const afterLife = (child: Child<VictimSaying>): void => {
    const open = child.heard.find((one) => one.say === 'open');
    const settled = child.heard.find((one) => one.say === 'settled');
    if (open === undefined) counts.killedOpening += 1;
    else {
      const problem = promises.settleBy(open.visits);
      if (problem !== undefined) problems.push(`life ${counts.kills}: ${problem}`);
    }
    if (settled !== undefined && settled.log.result !== 'synced')
      problems.push(
        `life ${counts.kills}: the next run ended ${settled.log.result} ${settled.log.error ?? ''} ${settled.problem ?? ''}`,
      );
    promises.hear(child.heard);
    if (promises.unsure !== undefined && open !== undefined) counts.killedEditing += 1;
    counts.runsEnded += child.heard.filter((one) => one.say === 'synced').length;
    if (child.errorText !== '') problems.push(`life ${counts.kills}: ${child.errorText}`);
  };
  try {
    await server.write((writer) => writer.put('tally', tallyId, { label: 'shared' }), {
      user: 'office',
    });
    // The first life is not killed before it has the tally: all later edits count in it.
    const first = start('1', 'settle');
    await first.hear('settled');
    await wait(random.below(200));
    await first.kill();
    afterLife(first);
    counts.kills += 1;
    while (counts.kills < options.kills && problems.length === 0) {
      if (options.endsAtMs !== undefined && Date.now() > options.endsAtMs) break;
      const begin = random.chance(40) ? 'settle' : 'edit';
      const isInCall = counts.kills % inCallEvery === 0;
      const call = isInCall ? callOfLife(counts.killedInCall) : 0;
      const child = start(String(1 + counts.kills), begin, String(call));
      await server.write((writer) => writer.increment('tally', tallyId, { total: serverStep }), {
        user: 'office',
      });
      if (isInCall) {
        counts.killedInCall += 1;
        // A life that comes to fewer calls is ended like the others.
        await child.hear('open');
        await Promise.race([child.gone, wait(lifeMsMax)]);
      } else {
        // One life in six ends while it opens.
        if (!random.chance(16)) await child.hear('open');
        await wait(random.below(random.chance(50) ? 60 : 350));
      }
      await child.kill();
      afterLife(child);
      if (child.endedBy !== 'SIGKILL')
        problems.push(`life ${counts.kills}: the device ended by ${child.endedBy}`);
      counts.kills += 1;
    }
    const last = start('rest');
    await last.hear('rest');
    await last.gone;
    const steps = counts.kills - 1;
    problems.push(...(await checkEnd(last, promises, server, steps)));
  } finally {
    await spares.dispose();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
  return {
    ...counts,
    promised: promises.promised,
    storedUnpromised: promises.storedUnpromised,
    problems,
  };
};

const checkEnd = async (
  last: Child<VictimSaying>,
  promises: Promises,
  server: Awaited<ReturnType<typeof openServer<NonNullable<(typeof schema)['_tables']>>>>,
  steps: number,
): Promise<readonly string[]> => {
  const problems: string[] = [];
  const expect = (what: string, is: unknown, wanted: unknown): void => {
    if (is !== wanted) problems.push(`${what}: ${String(is)} instead of ${String(wanted)}`);
  };
  const open = last.heard.find((one) => one.say === 'open');
  const rest = last.heard.find((one) => one.say === 'rest');
  if (open === undefined || rest === undefined) return [`no last life: ${last.errorText}`];
  const unsettled = promises.settleBy(open.visits);
  if (unsettled !== undefined) return [unsettled];
  const wanted = stateText(promises.state);
  expect('the last run', `${rest.log.result} ${rest.log.error ?? ''}`, 'synced ');
  expect('pending operations', rest.pending, 0);
  expect('sync errors', rest.errors, 0);
  const tally = (await server.get('tally', tallyId))?.total ?? 0;
  expect('steps of the server', Math.floor(tally / serverStep), steps);
  expect('device at rest', stateText(stateOf(rest.visits, tally % serverStep)), wanted);
  const visits: Visit[] = [];
  for await (const visit of everyVisit(server)) visits.push(visit);
  expect('server', stateText(stateOf(visits, tally % serverStep)), wanted);
  const prints = [await server.fingerprint('visits'), await server.fingerprint('tally')];
  expect('fingerprints', rest.fingerprints.join(), prints.join());
  return problems;
};
