import { tableMeta } from '@tidemark/client';
import { userTableIdMax } from '@tidemark/model';
import { customizationOf } from '../convergence/tables.js';
import { checkRest, checkEnd } from './checks.js';
import { SimContext } from './context.js';
import { doDeed, firstWrites } from './deeds.js';
import type { DeviceActor } from './device-actor.js';
import { strike } from './nemesis.js';
import { awaitsPage, checkOwnEdits } from './own-edit-checks.js';
import { deedKinds, type Plan, type PlannedEvent } from './plan.js';
import { firstIdentities } from './sim-identity.js';
import { SimWorld } from './sim-world.js';

/** Virtual time within which everything must come to rest after the last fault, ms. */
export const restMsMax = 10 * 60_000;
/** Virtual time that closing all may take, ms. */
const closeMsMax = 60_000;
/** Events between two looks at what statuses say. */
const statusEvery = 16;
/** Virtual time between two looks whether all is at rest, ms. */
const restLookMs = 250;

/** What one simulated seed did. */
export interface SimResult {
  readonly seed: number;
  readonly traceHash: string;
  readonly trace: readonly string[];
  readonly faults: number;
  readonly simulatedMs: number;
  readonly events: number;
  readonly seen: ReadonlyMap<string, number>;
  readonly isExact: boolean;
  readonly violation: Error | null;
}

const isDeed = (event: PlannedEvent): boolean =>
  (deedKinds as readonly string[]).includes(event.kind);

/** Runs one plan from its first event to its last check. Never throws: what is wrong is in the result. */
export const simulate = async (plan: Plan): Promise<SimResult> => {
  const world = new SimWorld(plan);
  const { context } = world;
  const onRejection = (cause: unknown): void => {
    context.violate('I10', `a rejection that nobody handles: ${String(cause)}`);
  };
  process.on('unhandledRejection', onRejection);
  let violation: Error | null = null;
  try {
    await new Simulation(world).run();
  } catch (cause) {
    violation = cause instanceof Error ? cause : new Error(String(cause));
    context.note(`VIOLATION ${violation.message}`);
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  return {
    seed: plan.seed,
    traceHash: context.scheduler.traceHash.toString(16).padStart(8, '0'),
    trace: context.trace,
    faults: context.faultCount(),
    simulatedMs: context.scheduler.nowMs - SimContext.startMs,
    events: context.scheduler.events,
    seen: context.seen,
    isExact: world.inexact.size === 0,
    violation,
  };
};

class Simulation {
  readonly #world: SimWorld;

  constructor(world: SimWorld) {
    this.#world = world;
    const { context } = world;
    context.scheduler.afterEvent = () => {
      if (context.scheduler.events % statusEvery === 0)
        for (const device of world.devices) this.#checkStatus(device);
      if (context.violation !== null) throw context.violation;
    };
  }

  async run(): Promise<void> {
    const { plan, context } = this.#world;
    context.note(
      `seed ${plan.seed}: ${plan.mode}, ${plan.servers} servers, ${plan.devices.length} devices`,
    );
    await this.#begin();
    await this.#chaos();
    await this.#heal();
    await this.#rest('after the faults');
    await checkRest(this.#world);
    await this.#fewEdits();
    await this.#rest('after a few edits');
    await checkRest(this.#world);
    await this.#reopenAll();
    await this.#rest('after all was opened again');
    await checkRest(this.#world);
    await checkEnd(this.#world);
    await this.#closeAll();
  }

  async #begin(): Promise<void> {
    const { servers, devices, context } = this.#world;
    for (const server of servers) server.start();
    await this.#wait('the servers open', 60_000, () =>
      servers.every((one) => one.merger() !== null),
    );
    const merger = servers[0]?.merger();
    if (merger === null || merger === undefined) throw new Error('there is no server');
    const { scheduler } = context;
    await scheduler.run(
      'the first publication',
      60_000,
      merger.publish(customizationOf(1), 'admin'),
    );
    this.#world.hasBegun = true;
    for (const entry of firstWrites)
      await scheduler.run('the first write', 60_000, merger.submit(entry));
    if (this.#world.plan.identities === true) {
      for (const entry of firstIdentities)
        await scheduler.run('the demand for identities', 60_000, merger.submit(entry));
      for (const server of servers) {
        const settled = server.merger()?.settle();
        if (settled !== undefined)
          await scheduler.run('every server knows of the demand', 60_000, settled);
      }
    }
    for (const device of devices) device.start();
    await this.#wait('the devices open', 60_000, () => devices.every((one) => one.isOpen));
    await scheduler.run(
      'the first syncs',
      60_000,
      Promise.all(devices.map(async (device) => device.replica?.sync())),
    );
  }

  async #chaos(): Promise<void> {
    const { plan, context } = this.#world;
    const { scheduler } = context;
    const beganMs = scheduler.nowMs;
    for (const event of plan.events)
      scheduler.after(event.atMs, () => {
        if (!isDeed(event)) return strike(this.#world, event);
        void doDeed(this.#world, event).catch((cause: unknown) => {
          context.violation ??= cause instanceof Error ? cause : new Error(String(cause));
        });
      });
    const last = plan.events[plan.events.length - 1]?.atMs ?? 0;
    await scheduler.runUntil(beganMs + last + 30_000);
  }

  /** Ends every fault and starts who is down. */
  async #heal(): Promise<void> {
    const { context, network, stream, devices, servers } = this.#world;
    context.note('HEAL');
    this.#world.isHealed = true;
    network.heal();
    stream?.heal();
    for (const disk of this.#world.disks()) disk.heal();
    for (const one of [...devices, ...servers]) {
      one.life.callsLeft = Number.POSITIVE_INFINITY;
      one.life.resume();
      one.start();
    }
    await this.#wait(
      'everybody is up',
      restMsMax,
      () => servers.every((one) => one.merger() !== null) && devices.every((one) => one.isOpen),
    );
    for (const device of devices) await this.#live(device);
  }

  async #live(device: DeviceActor): Promise<void> {
    const { scheduler } = this.#world.context;
    device.wantsLive = true;
    const { replica } = device;
    if (replica === null) return;
    await scheduler.run('going offline', closeMsMax, replica.disconnect());
    replica.connect();
  }

  /** Waits until nothing is under way any more. No edit helps. */
  async #rest(when: string): Promise<void> {
    await this.#wait(`all is at rest ${when}`, restMsMax, () => this.#isAtRest());
    await this.#world.context.scheduler.runUntil(this.#world.context.scheduler.nowMs + 1_000);
    if (!this.#isAtRest())
      await this.#wait(`all is at rest ${when}`, restMsMax, () => this.#isAtRest());
  }

  #isAtRest(): boolean {
    const { servers, devices } = this.#world;
    const mergers = servers.map((one) => one.merger());
    const states = mergers.map((one) => one?.state());
    // A fold that failed has more to fold, of which an embedded input tells nobody else.
    if (mergers.some((one) => one?.status().failure !== undefined)) return false;
    const [first] = states;
    if (first === undefined) return false;
    // Quarantined messages take no version: only the place in the input tells that a server has met them.
    const end = this.#world.stream?.extent();
    const { generation, seq } = end === undefined ? first.position : { ...end, seq: end.last };
    const isAtEnd = (one: (typeof states)[number]): boolean =>
      one?.n === first.n &&
      one.incarnation === first.incarnation &&
      one.position.generation === generation &&
      one.position.seq === seq;
    if (!states.every(isAtEnd)) return false;
    return devices.every((device) => {
      const { local, replica } = device;
      if (local === null || replica === null) return false;
      const { status } = replica;
      if (status.phase !== 'idle' || status.pending.operations > 0) return false;
      const meta = local.meta();
      if (meta.incarnation !== first.incarnation || meta.awaitsGrant) return false;
      if (meta.customizationVersion !== first.customizationVersion) return false;
      const { tables } = device.setup.scope;
      for (const { id, name } of local.schema().tablesById.values()) {
        if (id > userTableIdMax || (tables !== 'all' && tables[name] === undefined)) continue;
        const table = tableMeta(meta, id);
        if (table.state !== 'current' || table.at < first.n || table.repair) return false;
      }
      return true;
    });
  }

  async #fewEdits(): Promise<void> {
    const { devices, context, plan } = this.#world;
    if (plan.identities === true) {
      const event = { atMs: 0, kind: 'attack', who: 0, seed: plan.seed, forMs: 0 } as const;
      await context.scheduler.run('an attack', closeMsMax, doDeed(this.#world, event));
    }
    for (let at = 0; at < devices.length; at += 1)
      for (const kind of ['edit', 'pair'] as const) {
        const event = { atMs: 0, kind, who: at, seed: context.random.next(), forMs: 0 };
        await context.scheduler.run('an edit', closeMsMax, doDeed(this.#world, event));
      }
  }

  async #reopenAll(): Promise<void> {
    const { devices, servers, context } = this.#world;
    context.note('ALL CLOSE');
    const { scheduler } = context;
    for (const one of [...devices, ...servers])
      await scheduler.run(`${one.name} closes`, closeMsMax, one.close());
    for (const one of [...servers, ...devices]) one.start();
    await this.#wait(
      'everybody is open again',
      restMsMax,
      () => servers.every((one) => one.merger() !== null) && devices.every((one) => one.isOpen),
    );
    for (const device of devices) await this.#live(device);
  }

  async #closeAll(): Promise<void> {
    const { devices, servers, context } = this.#world;
    for (const one of [...devices, ...servers])
      await context.scheduler.run(`${one.name} closes`, closeMsMax, one.close());
  }

  async #wait(what: string, withinMs: number, isDone: () => boolean): Promise<void> {
    const { context } = this.#world;
    const endMs = context.scheduler.nowMs + withinMs;
    while (!isDone()) {
      if (context.scheduler.nowMs >= endMs) {
        context.violate('I9', `${what}: not within ${withinMs} ms; ${this.#told()}`);
        if (context.violation !== null) throw context.violation;
      }
      await context.scheduler.runUntil(context.scheduler.nowMs + restLookMs);
    }
  }

  #told(): string {
    const { servers, devices } = this.#world;
    const ofServers = servers.map((one) => {
      const state = one.merger()?.state();
      const failure = one.merger()?.status().failure?.code ?? '';
      const { generation, seq } = state?.position ?? { generation: 0, seq: 0 };
      const place = `${state?.incarnation ?? '-'}.${state?.n ?? '-'} at ${generation}/${seq}`;
      return `${one.name} ${place} customization ${state?.customizationVersion ?? '-'} ${failure}`;
    });
    const ofDevices = devices.map((one) => {
      const { local, replica } = one;
      if (local === null || replica === null) return `${one.name} down`;
      const { status } = replica;
      const meta = local.meta();
      const tables = Object.entries(meta.tables).map(
        ([id, table]) => `${id}:${table.state}@${table.at}${table.repair ? '!' : ''}`,
      );
      const waits = meta.awaitsGrant ? ' awaits its epoch' : '';
      return `${one.name} ${status.phase} pending ${status.pending.operations} error ${status.error?.code ?? '-'} at ${meta.incarnation}.${meta.version} customization ${meta.customizationVersion}${waits} ${tables.join(' ')}`;
    });
    const end = this.#world.stream?.extent();
    const ofInput = end === undefined ? [] : [`the stream ends at ${end.generation}/${end.last}`];
    return [...ofInput, ...ofServers, ...ofDevices].join('; ');
  }

  /** Between receipt and page the own edits of a device are looked at beside everything else. */
  #lookAtOwn(device: DeviceActor): void {
    if (device.isLookedAt || device.isEditing || !awaitsPage(device)) return;
    device.isLookedAt = true;
    const { life } = device;
    const look = life.pass(checkOwnEdits(this.#world, device));
    void look
      .catch((cause: unknown) => {
        this.#world.context.violation ??= cause instanceof Error ? cause : new Error(String(cause));
      })
      .finally(() => {
        if (device.life === life) device.isLookedAt = false;
      });
  }

  /** What is said of a device between two events is true. */
  #checkStatus(device: DeviceActor): void {
    const { replica, local, life } = device;
    if (replica === null || local === null || !life.alive) return;
    this.#lookAtOwn(device);
    const { context } = this.#world;
    const { status } = replica;
    const { lastIndex } = local.logEnd();
    const { mergedTo } = local.meta();
    const fail = (what: string): void =>
      context.violate('I10', `${device.name}: status says ${what}: ${JSON.stringify(status)}`);
    if (status.pending.operations !== Math.max(0, lastIndex - mergedTo))
      fail('a wrong number of pending');
    if (status.synced && (mergedTo < lastIndex || status.parked > 0)) fail('synced, and is not');
    if (!status.synced) return;
    // Whoever has a receipt for an operation was told of it by a server that has folded it.
    const { foldedNames, excused } = this.#world;
    const missing = device.book.firstUnfolded(foldedNames);
    if (missing !== undefined && !excused.has(missing.name))
      fail(`synced, and ${missing.what} was never folded`);
  }
}
