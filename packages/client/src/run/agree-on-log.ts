import { invariant, TidemarkError, toHex, type Receipt } from '@tidemark/model';
import type { HeadPoint, ResumeAnswer } from '@tidemark/protocol';
import type { LocalReplica } from '../local/local-replica.js';
import { seenVersion } from '../local/replica-meta.js';
import { ask } from './link-holder.js';
import { firstPoints, headAt, logBase, pointsBetween } from './log-heads.js';
import type { RunContext } from './run-context.js';

/** Most questions that look for a common part: each narrows it 64-fold. */
export const commonRoundsMax = 16;
/** Most steps of one agreement; each moves epoch or identity forward. */
export const agreeRoundsMax = 8;
/** Random bytes of the id of a provisional epoch, and of a new replica. */
export const epochIdBytes = 16;

/** Tells whether a receipt speaks of this log: another copy of the folder may have sent under its name. */
const isOfThisLog = async (local: LocalReplica, { mergedTo, head }: Receipt): Promise<boolean> =>
  mergedTo <= local.logEnd().lastIndex && (await headAt(local, mergedTo)) === head;

/** Rejects with `behind` when a receipt does not speak of this log: the next run agrees on it again. */
export const checkOfThisLog = async (context: RunContext, receipt: Receipt): Promise<void> => {
  const { receipt: known, ports } = context;
  // A newer epoch was granted to another copy: this one has to take a new id.
  if (receipt.epoch <= ports.local.meta().epoch) {
    // An agreement has compared it already.
    if (known?.mergedTo === receipt.mergedTo && known.head === receipt.head) return;
    if (await isOfThisLog(ports.local, receipt)) return;
  }
  throw new TidemarkError('behind', 'the log must be agreed on again', {
    mergedTo: receipt.mergedTo,
  });
};

/** Refuses what an older server says: a newer one has been seen. */
export const checkNotOlder = (context: RunContext, receipt: Receipt): void => {
  const { incarnation } = context.ports.local.meta();
  if (receipt.incarnation < incarnation)
    throw new TidemarkError('behind', 'the server is of an older incarnation', {
      seen: incarnation,
      answered: receipt.incarnation,
    });
};

/** Asks where the log stands. Notes receipt, clock difference and the newest customization. */
export const resume = async (
  context: RunContext,
  points: readonly HeadPoint[],
): Promise<ResumeAnswer> => {
  const { local, clock } = context.ports;
  const meta = local.meta();
  const askedOn = clock.nowMs();
  const { message } = await ask(
    context.links,
    'resume',
    {
      epoch: meta.epoch,
      provisional: meta.provisional,
      lastIndex: local.logEnd().lastIndex,
      publishedTo: meta.publishedTo,
      points,
      seen: seenVersion(meta),
      // The newest proof of what the server has shown: one that was put back recognizes it.
      cursor: meta.staging?.cursor ?? meta.cursor,
    },
    context.signal,
  );
  checkNotOlder(context, message.receipt);
  context.offsetMs = Math.round(message.serverTimeMs - (askedOn + clock.nowMs()) / 2);
  context.customizationVersion = message.customizationVersion;
  return message;
};

/** Asks until `common` is exact: no transaction of the log ends between it and what is known to differ. */
const findCommon = async (context: RunContext, first: ResumeAnswer): Promise<HeadPoint> => {
  const { local } = context.ports;
  const beyond = local.logEnd().lastIndex + 1;
  let upper = beyond;
  let [common, head] = logBase(local);
  const learn = async (answer: ResumeAnswer, asked: readonly HeadPoint[]): Promise<void> => {
    if (answer.differs > 0) upper = Math.min(upper, answer.differs);
    // Everything asked above the answer's common position is not in the server's log.
    for (const [index] of asked) if (index > answer.common) upper = Math.min(upper, index);
    if (answer.common <= common) return;
    const found = await headAt(local, answer.common);
    if (found !== undefined) [common, head] = [answer.common, found];
  };
  await learn(first, []);
  for (let round = 0; round < commonRoundsMax; round += 1) {
    const points = await pointsBetween(local, common, upper);
    if (points.length === 0) return [common, head];
    await learn(await resume(context, points), points);
  }
  throw new TidemarkError('timeout', 'the common part of the logs was not found in time');
};

const newId = (context: RunContext): string => toHex(context.ports.entropy.bytes(epochIdBytes));

/** Asks for the epoch that waits; the answer tells whether it was granted. */
const askForGrant = async (
  context: RunContext,
  epoch: number,
  [index, head]: HeadPoint,
  { first = false, gap = false }: { readonly first?: boolean; readonly gap?: boolean } = {},
): Promise<boolean> => {
  const { local, emit } = context.ports;
  const meta = local.meta();
  const origin = meta.origins[meta.origins.length - 1];
  const cloned = first && origin !== undefined;
  const { message } = await ask(
    context.links,
    'grant',
    {
      epoch,
      provisional: meta.provisional,
      continues: { index, head },
      origin: cloned ? { replica: origin.replica, epoch: origin.epoch ?? meta.epoch } : null,
      ...(gap ? { gap } : {}),
    },
    context.signal,
  );
  checkNotOlder(context, message.receipt);
  if (!message.granted) return false;
  await local.rewrap({
    epoch: message.epoch,
    provisional: meta.provisional,
    granted: true,
    above: index,
  });
  context.receipt = message.receipt;
  emit({ type: 'epoch', epoch: message.epoch });
  return true;
};

/** Opens a provisional epoch above `common` unless one waits already that begins there or below. */
const openProvisional = async (context: RunContext, common: number): Promise<void> => {
  const { local } = context.ports;
  const { epoch, provisional, awaitsGrant } = local.meta();
  await local.rewrap({
    epoch,
    provisional: awaitsGrant ? provisional : newId(context),
    granted: false,
    above: common,
  });
};

/** The epoch was ended by a copy of this folder: goes on under a new id, sharing the log up to `common`. */
const becomeNewReplica = async (context: RunContext, common: number): Promise<void> => {
  const { local, emit, logger } = context.ports;
  const { epoch, replica: previous } = local.meta();
  const replica = newId(context);
  await local.rewrap({
    epoch,
    provisional: newId(context),
    granted: false,
    above: common,
    replica,
    origin: { replica: previous, lastIndex: common, epoch },
  });
  emit({ type: 'clone-detected', previous, replica, common });
  logger?.log('warn', 'another copy of this folder exists; continuing under a new id', {
    previous,
    replica,
    common,
  });
  await context.links.close();
  await context.links.open(context.signal);
};

type Step = 'agreed' | 'again';

const agreeOk = async (context: RunContext, answer: ResumeAnswer): Promise<Step> => {
  const { local } = context.ports;
  const meta = local.meta();
  const { receipt } = answer;
  if (meta.awaitsGrant && receipt.epoch === meta.epoch) return regrant(context, answer);
  if (meta.awaitsGrant || receipt.epoch !== meta.epoch) {
    // The grant came through, but its answer did not.
    const { provisional } = meta;
    const start = meta.epochStarts.find(([epoch]) => epoch === receipt.epoch)?.[1];
    const above = start === undefined ? Math.min(receipt.mergedTo, answer.common) : start - 1;
    await local.rewrap({ epoch: receipt.epoch, provisional, granted: true, above });
    context.ports.emit({ type: 'epoch', epoch: receipt.epoch });
  }
  if (await isOfThisLog(local, receipt)) {
    context.receipt = receipt;
    return 'agreed';
  }
  return regrant(context, answer);
};

/**
 * Goes on above a gap: the log was trimmed up to `base`, and the server was put back to before that. What
 * lies between is gone from both, and is told.
 */
const grantAboveGap = async (
  context: RunContext,
  { epoch, mergedTo }: Receipt,
  base: HeadPoint,
  first: boolean,
): Promise<boolean> => {
  const { emit, logger } = context.ports;
  if (!(await askForGrant(context, epoch, base, { first, gap: true }))) return false;
  if (first || base[0] <= mergedTo) return true;
  const range = { from: mergedTo + 1, to: base[0], operations: base[0] - mergedTo };
  emit({ type: 'lost', ...range });
  logger?.log('error', 'operations are gone from the server and from this log', range);
  return true;
};

/** Heals a fork: a new epoch continues the exact common part, everything above is offered again. */
const regrant = async (context: RunContext, answer: ResumeAnswer): Promise<Step> => {
  const { local, emit } = context.ports;
  const common = await findCommon(context, answer);
  const lost = local.meta().awaitsGrant;
  await openProvisional(context, common[0]);
  if (!(await askForGrant(context, answer.receipt.epoch, common))) {
    // Where the log begins, the server may have nothing to compare with.
    const [base] = logBase(local);
    if (base === 0 || common[0] !== base) return 'again';
    await grantAboveGap(context, answer.receipt, common, false);
    return 'again';
  }
  if (!lost || answer.receipt.mergedTo > common[0])
    emit({ type: 'fork-healed', common: common[0], epoch: local.meta().epoch });
  return 'again';
};

/** Where a log that the server does not know begins: what it shares with an origin is the origin's to offer. */
const unknownFrom = async (
  local: LocalReplica,
): Promise<{ readonly point: HeadPoint; readonly shared: boolean }> => {
  const base = logBase(local);
  const origin = local.meta().origins.at(-1);
  if (origin === undefined || origin.lastIndex < base[0]) return { point: base, shared: false };
  const head = await headAt(local, origin.lastIndex);
  invariant(head !== undefined, 'a clone shares whole transactions');
  return { point: [origin.lastIndex, head], shared: true };
};

const agreeUnknown = async (context: RunContext, { receipt }: ResumeAnswer): Promise<Step> => {
  const { point, shared } = await unknownFrom(context.ports.local);
  await openProvisional(context, point[0]);
  if (await askForGrant(context, 0, point, { first: shared })) return 'again';
  // Trimmed further than this server ever saw, or the origin is not known here: both go on.
  if (point[0] > 0 && (await grantAboveGap(context, receipt, point, shared))) return 'again';
  throw new TidemarkError('input-mismatch', 'the server does not know where this log begins', {
    continues: point[0],
  });
};

const agreeEnded = async (context: RunContext, answer: ResumeAnswer): Promise<Step> => {
  const meta = context.ports.local.meta();
  // Own provisional epoch, not asked for yet: the epoch that it continues is still the current one. A
  // server that was rewound may also know an older epoch only.
  if (meta.awaitsGrant && answer.receipt.epoch === meta.epoch) return regrant(context, answer);
  if (answer.receipt.epoch < meta.epoch) return regrant(context, answer);
  const common = await findCommon(context, answer);
  await becomeNewReplica(context, common[0]);
  return 'again';
};

const agreeOnce = (context: RunContext, answer: ResumeAnswer): Promise<Step> => {
  switch (answer.status) {
    case 'ok':
      return agreeOk(context, answer);
    case 'unknown':
      return agreeUnknown(context, answer);
    case 'fork':
      return regrant(context, answer);
    case 'ended':
      return agreeEnded(context, answer);
  }
};

/** Tells of what a receipt takes back, and keeps what it says. */
export const noteReceipt = async (context: RunContext, receipt: Receipt): Promise<void> => {
  const { local, emit } = context.ports;
  const meta = local.meta();
  context.receipt = receipt;
  if (receipt.mergedTo < meta.mergedTo)
    emit({ type: 'rewound', knownTo: meta.mergedTo, mergedTo: receipt.mergedTo });
  if (receipt.mergedTo !== meta.mergedTo || receipt.archivedTo !== meta.archivedTo)
    await local.updateMeta({ mergedTo: receipt.mergedTo, archivedTo: receipt.archivedTo });
};

/**
 * Agrees with the server on the log: epoch, identity, and how far it is merged. Afterwards everything
 * above `context.receipt.mergedTo` may be offered under the current epoch.
 */
export const agreeOnLog = async (context: RunContext): Promise<void> => {
  const { local, emit } = context.ports;
  const known = local.meta().incarnation;
  let told = false;
  for (let round = 0; round < agreeRoundsMax; round += 1) {
    const points = await firstPoints(local, local.meta().mergedTo);
    const answer = await resume(context, points);
    const { incarnation } = answer.receipt;
    if (known > 0 && incarnation > known && !told) {
      emit({ type: 'incarnation', previous: known, incarnation });
      told = true;
    }
    if ((await agreeOnce(context, answer)) === 'again') continue;
    await noteReceipt(context, answer.receipt);
    return;
  }
  throw new TidemarkError('timeout', 'no agreement on the log in time');
};
