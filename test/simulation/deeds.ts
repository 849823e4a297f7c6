import { tableMeta } from '@tidemark/client';
import { encodeEnvelope, type Envelope } from '@tidemark/model';
import { TidemarkError } from '@tidemark/model';
import type { InputEntry, Merger } from '@tidemark/merger';
import { SeededRandom } from '../convergence/seeded-random.js';
import { customizationOf, fieldIds } from '../convergence/tables.js';
import type { DeviceActor } from './device-actor.js';
import { checkOwnEdits } from './own-edit-checks.js';
import type { DeedKind, PlannedEvent } from './plan.js';
import type { ServerActor } from './server-actor.js';
import { forge } from './forgeries.js';
import { entryName } from './folded-message.js';
import { canary, type SimWorld } from './sim-world.js';
import { foreignRecord, nastyValue, pairRecords, pairTable, pairTableId } from './workload.js';

const tableNames = ['server_wins', 'device_wins', 'full_row', 'latest', 'manual', 'children'];
/** Tables in which no rule parks a row of a backend. */
const foreignTables = [2, 3];

/** Codes with which a call of a server may end without anything being wrong. */
const serverTroubles = new Set([
  'unreachable',
  'timeout',
  'storage-unavailable',
  'storage-damaged',
  'input-full',
  'input-mismatch',
  'behind',
  // Two publications of one version were under way, or an older server answered.
  'destructive-change',
]);

const deviceDeeds: Partial<
  Record<DeedKind, (world: SimWorld, device: DeviceActor, random: SeededRandom) => Promise<void>>
> = {
  edit: ({ workload }, device, random) => workload.edits(device, random),
  transaction: ({ workload }, device, random) => workload.edit(device, random, true),
  pair: ({ workload }, device, random) => workload.pair(device, random),
  resolve: ({ workload }, device, random) => workload.resolve(device, random),
  sync: (world, device) => sync(world, device, 'foreground'),
  background: (world, device) => sync(world, device, 'background'),
  connect: (_world, device) => {
    device.wantsLive = true;
    device.goLive();
    return Promise.resolve();
  },
  disconnect: async (_world, device) => {
    device.wantsLive = false;
    await device.replica?.disconnect();
  },
  reopen: async (world, device) => {
    world.context.note(`${device.name} closes`);
    await device.close();
    world.context.saw('a device was closed and opened');
    device.start();
  },
  read: (world, device) => checkReads(world, device),
};

const sync = async (
  { context }: SimWorld,
  device: DeviceActor,
  mode: 'foreground' | 'background',
): Promise<void> => {
  if (device.replica === null) return;
  const { result, error } = await device.replica.sync({ mode });
  context.saw(`run ${result}`);
  if (error !== null && error !== undefined) context.saw(`run failed with ${error}`);
  context.note(`${device.name} sync ${mode} -> ${result} ${error ?? ''}`);
};

/** Reads show whole transactions, and never anything older than before. */
export const checkReads = async (world: SimWorld, device: DeviceActor): Promise<void> => {
  const { replica, local } = device;
  if (replica === null || local === null) return;
  const { context } = world;
  // A first fill is shown as it comes, also a part of what belongs together; an image that lost batches of it is
  // shown until the repair that it waits for. Neither counts as current.
  const isCurrent = (): boolean => {
    const { state, repair } = tableMeta(local.meta(), pairTableId);
    return state === 'current' && !repair;
  };
  if (device.setup.scope.tables === 'all' && isCurrent()) {
    const rows = await replica.query(pairTable);
    const values = pairRecords.map(
      (id) => (rows.find((row) => row.id === id) as Record<string, unknown> | undefined)?.['a'],
    );
    if (values[0] !== values[1] && device.local === local && isCurrent())
      context.violate('I11', `${device.name} shows half a transaction: ${JSON.stringify(values)}`);
  }
  if (device.local !== local) return;
  const { incarnation, version } = local.meta();
  const { shown } = device;
  const isOlder =
    incarnation < shown.incarnation ||
    (incarnation === shown.incarnation && version < shown.version);
  if (isOlder && !device.mayGoBack)
    context.violate(
      'I11',
      `${device.name} went back from ${JSON.stringify(shown)} to ${incarnation}.${version}`,
    );
  device.mayGoBack = false;
  device.shown = { incarnation, version };
};

/** Asks any server that is up. */
const atServer = async (
  { context, servers }: SimWorld,
  random: SeededRandom,
  what: string,
  work: (merger: Merger, server: ServerActor) => Promise<unknown>,
): Promise<boolean> => {
  const up = servers.filter((one) => one.merger() !== null);
  if (up.length === 0) return false;
  const server = random.pick(up);
  const merger = server.merger();
  if (merger === null) return false;
  let result = 'done';
  try {
    await server.life.pass(work(merger, server));
  } catch (cause) {
    if (!(cause instanceof TidemarkError) || !serverTroubles.has(cause.code)) throw cause;
    result = cause.code;
    context.saw(`a server call failed with ${result}`);
  }
  context.note(`${server.name} ${what} -> ${result}`);
  return result === 'done';
};

const write = async (world: SimWorld, random: SeededRandom): Promise<void> => {
  const { plan, workload } = world;
  const name = random.pick(plan.tables);
  const table = 1 + tableNames.indexOf(name);
  const id = random.pick(workload.records);
  const fields = Object.fromEntries(
    Object.entries(workload.fields(random, 1)).map(([field, value]) => [
      fieldIds[field as keyof typeof fieldIds],
      value,
    ]),
  );
  const roll = random.below(100);
  const user = `admin-${world.promisedWrites.length}-${random.below(1_000_000)}`;
  const ops =
    roll < 15
      ? pairRecords.map(
          (pair) =>
            ({
              kind: 'upsert',
              table: pairTableId,
              id: pair,
              fields: { [fieldIds.a]: `pair by ${user}` },
            }) as const,
        )
      : [
          roll < 60
            ? ({ kind: 'upsert', table, id, fields } as const)
            : roll < 75
              ? ({ kind: 'delete', table, id } as const)
              : roll < 90
                ? ({ kind: 'increment', table, id, by: { [fieldIds.count]: 100 } } as const)
                : ({ kind: 'patch', table, id, fields } as const),
        ];
  const text = JSON.stringify(ops);
  const entry: InputEntry = { kind: 'write', user, ops };
  if (await atServer(world, random, `write ${text}`, (merger) => merger.submit(entry)))
    world.promisedWrites.push({ user, text });
};

const foreign = async (world: SimWorld, random: SeededRandom): Promise<void> => {
  world.rowVersion += 1;
  const rows = [
    {
      table: random.pick(foreignTables),
      id: foreignRecord,
      fields: { [fieldIds.a]: nastyValue(random), [fieldIds.b]: nastyValue(random) },
      modifiedOn: Math.floor(world.context.scheduler.nowMs) - random.below(1_000),
      rowVersion: world.rowVersion,
    },
  ];
  await atServer(world, random, `foreign ${JSON.stringify(rows)}`, (merger) =>
    merger.submit({ kind: 'foreign', backend: 'erp', rows }),
  );
};

const publish = async (world: SimWorld, random: SeededRandom): Promise<void> => {
  if (world.version === 3) return;
  const next = world.version === 1 ? 2 : 3;
  const work = (merger: Merger): Promise<unknown> => merger.publish(customizationOf(next), 'admin');
  // One whose answer was lost counts once it is folded.
  if (await atServer(world, random, `publish ${next}`, work)) world.version = next;
};

const central = async (world: SimWorld, random: SeededRandom): Promise<void> => {
  await atServer(world, random, 'resolve', async (merger) => {
    const errors = await merger.syncErrors({});
    if (errors.length === 0) return;
    const error = random.pick(errors);
    const isPair = [error.record, ...error.conflicts.map(({ record }) => record)].some((one) =>
      (pairRecords as readonly string[]).includes(one),
    );
    const isOfFields = error.conflicts.every(({ field }) => field !== null);
    const action = random.pick([
      'retry',
      'ignore',
      'un-ignore',
      'take-server',
      isOfFields && !isPair ? 'merge' : 'retry',
      isPair ? 'ignore' : 'split',
    ] as const);
    const choices =
      action !== 'merge'
        ? []
        : error.conflicts.map(({ table, record, field }) => ({
            table,
            record,
            field,
            pick: random.pick(['mine', 'theirs'] as const),
          }));
    const { verdict } = await merger.resolve(error.id, { action, choices, user: 'admin' });
    world.context.saw(`central resolution ${verdict}`);
    world.context.note(`  ${error.id} ${action} ${JSON.stringify(choices)} -> ${verdict}`);
  });
};

const checkpoint = async (world: SimWorld, random: SeededRandom): Promise<void> => {
  await atServer(world, random, 'checkpoint', async (merger, server) => {
    await merger.checkpoint();
    server.backup = { store: server.storeDisk.backup(), input: server.inputDisk.backup() };
  });
};

const zeros = new Uint8Array(32);
const forgerySalt = 0x0f0e;

/** Envelopes of somebody who means harm: none of them is the named replica's. */
const badEnvelopes = (world: SimWorld, random: SeededRandom): readonly [string, Uint8Array] => {
  const victim = random.pick(world.devices);
  const replica = victim.local?.meta().replica ?? `${victim.name}-1`;
  const envelope: Envelope = {
    replica,
    user: victim.user,
    epoch: 1,
    from: 1,
    to: 1,
    headBefore: zeros,
    headAfter: random.bytes(32),
    offsetMs: 0,
    transactions: [random.bytes(40)],
  } as unknown as Envelope;
  const kind = random.pick([
    'noise',
    'empty',
    'forged',
    'stranger',
    'huge-length',
    'stolen',
  ] as const);
  switch (kind) {
    case 'noise':
      return [kind, random.bytes(random.below(200))];
    case 'empty':
      return [kind, new Uint8Array(0)];
    case 'forged':
      return [kind, encodeEnvelope(envelope)];
    case 'stranger':
      return [kind, encodeEnvelope({ ...envelope, user: 'mallory' })];
    case 'stolen':
      // A true envelope under another name.
      return [kind, world.lastEnvelope ?? new Uint8Array(0)];
    case 'huge-length': {
      const bytes = encodeEnvelope(envelope);
      bytes.fill(0xff, 1, 9);
      return [kind, bytes];
    }
  }
};

/** Forgeries that one attack makes. */
const forgeriesAtOnce = 3;

/** Sends forged envelopes into the input, or to a server, as whoever each of them is said to be from. */
const forgeSome = async (world: SimWorld, random: SeededRandom): Promise<void> => {
  const { context, stream, servers } = world;
  for (let i = 0; i < forgeriesAtOnce; i += 1) {
    const forgery = forge(world, random);
    if (forgery === null) continue;
    const { kind, caller, envelope, reason } = forgery;
    const entry = world.entryOf(caller, envelope);
    if (reason !== null) {
      // The same bytes may have been sent before, when a process could still end.
      const name = entryName(entry);
      if (world.isHealed && !world.forged.has(name)) world.forgedInPeace.add(name);
      world.forged.set(name, reason);
    }
    context.fault(`forgery ${kind}`, `${caller.replica}, ${envelope.length} bytes`);
    if (stream !== null) {
      if (!stream.faults.isDown) stream.offer(`forgery-${context.scheduler.events}-${i}`, entry);
      continue;
    }
    const up = servers.find((one) => one.up() !== null)?.up();
    if (up === undefined || up === null) continue;
    // An embedded server stores what is well-formed, and judges it in the order of the input.
    const isRefused = caller.tenant !== 'acme' || reason === 'identity';
    try {
      await up.life.pass(up.service.publish(caller, envelope));
      if (isRefused) context.violate('I13', `a server took an envelope ${kind}`);
    } catch (cause) {
      if (!(cause instanceof TidemarkError)) throw cause;
      if (!isRefused && !serverTroubles.has(cause.code)) throw cause;
      context.saw(`a forgery was refused with ${cause.code}`);
    }
  }
};

const attack = async (
  world: SimWorld,
  event: PlannedEvent,
  random: SeededRandom,
): Promise<void> => {
  // Its chance is its own: plans from before there were forgeries draw as they did.
  if (world.plan.identities === true)
    await forgeSome(world, new SeededRandom(event.seed ^ forgerySalt));
  const [kind, envelope] = badEnvelopes(world, random);
  const caller = { tenant: 'acme', replica: 'mallory', user: 'mallory' };
  const { context, stream } = world;
  context.fault(`attack ${kind}`, `${envelope.length} bytes`);
  if (stream !== null) {
    if (stream.faults.isDown) return;
    const id = `attack-${context.scheduler.events}`;
    const offered = stream.offer(id, world.entryOf(caller, envelope));
    if (offered.tag === 'stored' && !offered.isDuplicate) world.attacks.push(kind);
    return;
  }
  const up = world.servers.find((one) => one.up() !== null)?.up();
  if (up === undefined || up === null) return;
  try {
    await up.life.pass(up.service.publish(caller, envelope));
    context.violate('I13', `a server took an envelope of kind ${kind}`);
  } catch (cause) {
    if (!(cause instanceof TidemarkError)) throw cause;
    context.saw(`an attack was refused with ${cause.code}`);
  }
};

/** Carries out one deed. What it may end with is decided here; anything else is a violation. */
export const doDeed = async (world: SimWorld, event: PlannedEvent): Promise<void> => {
  const random = new SeededRandom(event.seed);
  const kind = event.kind as DeedKind;
  const own = deviceDeeds[kind];
  if (own !== undefined) {
    const device = world.devices[event.who % world.devices.length];
    if (device?.isOpen !== true) return;
    try {
      await device.life.pass(own(world, device, random));
      await device.life.pass(checkOwnEdits(world, device));
    } catch (cause) {
      const isClosed = cause instanceof TidemarkError && cause.code === 'replica-closed';
      const isStorage = cause instanceof TidemarkError && cause.code === 'storage-unavailable';
      if (!isClosed && !isStorage) throw cause;
      world.context.saw(`a device call failed with ${cause.code}`);
    }
    return;
  }
  if (kind === 'write') await write(world, random);
  else if (kind === 'foreign') await foreign(world, random);
  else if (kind === 'publish') await publish(world, random);
  else if (kind === 'central') await central(world, random);
  else if (kind === 'checkpoint') await checkpoint(world, random);
  else if (kind === 'attack') await attack(world, event, random);
};

/** First content of a world: the pair, and rows that filtered devices must not see. */
export const firstWrites: readonly InputEntry[] = [
  {
    kind: 'write',
    user: 'admin-first',
    ops: [
      ...pairRecords.map(
        (id) =>
          ({ kind: 'upsert', table: pairTableId, id, fields: { [fieldIds.a]: 'pair' } }) as const,
      ),
      { kind: 'upsert', table: pairTableId, id: 'secret', fields: { [fieldIds.a]: canary } },
      { kind: 'upsert', table: 2, id: 'secret', fields: { [fieldIds.a]: canary } },
    ],
  },
];
