import type { InputEntry } from '@tidemark/merger';
import { equalBytes, nextHead, openTransaction } from '@tidemark/model';
import {
  checkDevices,
  checkImage,
  checkOracle,
  checkVerdicts,
  type CheckedDevice,
  type CheckedWorld,
} from '../convergence/checks.js';
import { crypto } from '../convergence/memory-parts.js';
import { checkCheckpoint, checkOtherWindows, contentOf } from '../convergence/refold.js';
import { storedRecords } from '../convergence/world.js';
import { decodeRow } from '@tidemark/model';
import { Violation, type Invariant } from './context.js';
import { checkReads } from './deeds.js';
import type { DeviceActor } from './device-actor.js';
import type { ServerActor } from './server-actor.js';
import type { FoldedMessage } from './folded-message.js';
import { checkForgeries, forgedMessages } from './forgery-checks.js';
import type { SimWorld } from './sim-world.js';
import { typedByOperation } from './typed-by-operation.js';
import { pairRecords, pairTableId } from './workload.js';
import type { TypedTokens } from '../convergence/history.js';

/** Virtual time that one group of checks may take, ms. */
const checkMsMax = 120_000;
const logReadBytes = 64 * 1024 * 1024;
/** One of so many seeds is folded again in other windows and from a checkpoint: that costs most. */
const refoldEvery = 8;

const fail = (invariant: Invariant, what: string): never => {
  throw new Violation(invariant, what);
};

/** Runs a check; what it throws is a violation of the invariant. */
const under = async (
  world: SimWorld,
  invariant: Invariant,
  check: () => Promise<unknown>,
): Promise<void> => {
  try {
    await world.context.scheduler.run(`the check of ${invariant}`, checkMsMax, check());
  } catch (cause) {
    if (cause instanceof Violation) throw cause;
    throw new Violation(invariant, cause instanceof Error ? cause.message : String(cause));
  }
};

const checkedDevices = (world: SimWorld): readonly CheckedDevice[] =>
  world.devices.flatMap(({ local, replica, setup }) =>
    local === null || replica === null
      ? []
      : [{ name: local.meta().replica, setup, local, replica }],
  );

const checkedWorld = (world: SimWorld, server: ServerActor): CheckedWorld => {
  const merger = server.merger();
  const { store } = server;
  if (merger === null || store === null) throw new Error(`${server.name} is not open`);
  return {
    devices: checkedDevices(world),
    store,
    merger,
    rows: async (table) =>
      new Map(
        (await storedRecords(store, table)).flatMap(({ id, row, deleted }) =>
          deleted ? [] : [[id, row] as const],
        ),
      ),
    messages: () => Promise.resolve(goodMessages(world).map(({ message }) => message)),
  };
};

/** Messages without those of attackers: what is left, the oracle understands. */
const goodMessages = (world: SimWorld): readonly FoldedMessage[] =>
  world
    .folded()
    .filter(
      ({ entry, name }) => entry !== undefined && !isAttack(entry) && !world.forged.has(name),
    );

const isAttack = (entry: InputEntry): boolean =>
  entry.kind === 'envelope' && entry.caller.replica === 'mallory';

/** What each operation typed that was folded. */
const typedOf = (world: SimWorld): Map<string, TypedTokens> =>
  typedByOperation(
    goodMessages(world).flatMap(({ envelope }) => envelope ?? []),
    {
      tables: world.servers.flatMap(
        (server) => server.merger()?.schema().customization.tables ?? [],
      ),
      typed: world.typed,
    },
  );

/** Everything that a device promised is in the input, unless what held it was destroyed. */
const checkPromises = (world: SimWorld): void => {
  for (const device of world.devices)
    for (const { name, first, last, what } of device.book.promised)
      if (!world.foldedNames.has(name) && !world.excused.has(name))
        fail('I1', `${device.name} promised ${first}..${last} (${what}), and no server has it`);
  if (world.lostInput) return;
  for (const { user, text } of world.promisedWrites)
    if (!world.foldedUsers.has(user)) fail('I1', `the write ${text} was confirmed and is gone`);
};

/**
 * The log that a device kept is one chain. Only a disk that lost batches may have left a gap, and only among
 * operations that a receipt covers: nobody needs them while the server keeps what it has.
 */
const checkLog = async ({ name, local, wasDamaged }: DeviceActor): Promise<void> => {
  if (local === null) return;
  const { lastIndex, head } = local.logEnd();
  const { mergedTo } = local.meta();
  let index = local.logStart();
  let before: Uint8Array | undefined;
  while (index <= lastIndex) {
    const entries = await local.readLog(index, logReadBytes);
    if (entries.length === 0)
      return fail('I3', `${name}: the log ends at ${index}, not ${lastIndex}`);
    for (const entry of entries) {
      const isCoveredGap = wasDamaged && entry.index > index && entry.index <= mergedTo + 1;
      if (entry.index !== index && !isCoveredGap)
        fail('I3', `${name}: ${entry.index} stands at ${index} in the log`);
      if (isCoveredGap) before = undefined;
      const opened = openTransaction(entry.bytes, crypto.sha256);
      if (opened._tag === 'Left') return fail('I3', `${name}: the entry at ${index} is broken`);
      if (
        before !== undefined &&
        !equalBytes(nextHead(before, opened.right, crypto.sha256), entry.head)
      )
        fail('I3', `${name}: the chain breaks at ${index}`);
      before = entry.head;
      index = entry.index + entry.opCount;
    }
  }
  if (before !== undefined && !equalBytes(before, head))
    fail('I3', `${name}: another head at the end`);
};

/** Servers of one input hold the same. */
const checkServers = async (world: SimWorld): Promise<void> => {
  const [first, ...others] = world.servers;
  const state = first?.merger()?.state();
  if (first?.store === null || first === undefined || state === undefined) return;
  for (const other of others) {
    const its = other.merger()?.state();
    if (its?.digest !== state.digest || its.n !== state.n)
      fail(
        'I8',
        `${other.name} is at ${its?.n} ${its?.digest}, ${first.name} at ${state.n} ${state.digest}`,
      );
    if (other.store === null) continue;
    const [a, b] = [await contentOf(first.store), await contentOf(other.store)];
    if (a !== b) fail('I8', `${other.name} and ${first.name} hold different records`);
  }
};

/** No server shows half a transaction. */
const checkPair = async ({ store, name }: ServerActor): Promise<void> => {
  const found = await store?.getRecords(pairTableId, pairRecords);
  const values = found?.map((one) => (one === undefined ? null : decodeRow(one.row).fields[1]));
  if (values?.[0] !== values?.[1])
    fail('I11', `${name} holds half a pair: ${JSON.stringify(values)}`);
};

const checkQuarantine = (world: SimWorld): void => {
  const counts = world.servers[0]?.merger()?.state().counts;
  const bad = world.attacks.length + forgedMessages(world).length;
  if (counts?.quarantined !== bad)
    fail('I13', `${counts?.quarantined} messages are in quarantine, ${bad} were bad`);
};

const checkLoss = (world: SimWorld): void => {
  if (world.lostFolded.size === 0) return;
  const told = world.servers.some(({ events }) =>
    // Each server that goes on under a new incarnation says so, whatever became of the one that began it.
    events.some(({ type }) => type === 'incarnation-folded'),
  );
  if (!told) fail('I12', 'input that was folded is gone, and no server said so');
};

/** Whether one customization was published twice: its answer was lost, and the oracle cannot tell. */
const isPublishedTwice = (world: SimWorld): boolean => {
  const versions = world
    .folded()
    .flatMap(({ entry }) =>
      entry?.kind === 'customization' ? [(entry.json as { readonly version: number }).version] : [],
    );
  return new Set(versions).size < versions.length;
};

/** Everything that must hold when nothing is under way. */
export const checkRest = async (world: SimWorld): Promise<void> => {
  const [server] = world.servers;
  if (server === undefined) return;
  for (const device of world.devices) {
    await under(world, 'I11', () => checkReads(world, device));
    await under(world, 'I3', () => checkLog(device));
  }
  const { violation } = world.context;
  if (violation !== null) throw violation;
  checkPromises(world);
  checkLoss(world);
  await under(world, 'I8', () => checkServers(world));
  for (const one of world.servers) await under(world, 'I11', () => checkPair(one));
  for (const one of world.servers) await under(world, 'I13', () => checkForgeries(world, one));
  const checked = checkedWorld(world, server);
  if (world.inexact.size > 0 || isPublishedTwice(world)) {
    world.context.saw('a history was lost or doubled');
    for (const device of checked.devices)
      await under(world, 'I5', () => checkImage(checked, device));
    return;
  }
  world.context.saw('a history was held against the oracle');
  checkQuarantine(world);
  await under(world, 'I5', () => checkDevices(checked));
  const promised = new Map(
    checked.devices.map(({ name, local }) => [name, local.logEnd().lastIndex] as const),
  );
  const facts = { typed: typedOf(world), promised };
  await under(world, 'I2', () => checkVerdicts({ world: checked, facts }));
  await under(world, 'I6', () => checkOracle({ world: checked, facts }));
};

/** What is checked once, at the end: the same input gives the same in other windows and from the middle. */
export const checkEnd = async (world: SimWorld): Promise<void> => {
  const [server] = world.servers;
  const isExact = world.inexact.size === 0;
  if (server === undefined || !isExact || world.plan.seed % refoldEvery !== 0) return;
  const checked = checkedWorld(world, server);
  const messages = world.messages();
  const random = world.context.random.fork();
  await checkOtherWindows(checked, messages, random).catch((cause: unknown) =>
    fail('I19', String(cause)),
  );
  await checkCheckpoint(checked, messages, random).catch((cause: unknown) =>
    fail('I7', String(cause)),
  );
};
