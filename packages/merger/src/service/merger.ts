import { decodeEnvelope, isLeft, TidemarkError } from '@tidemark/model';
import type { AbortSignalLike, InputPosition, Service } from '@tidemark/ports';
import type { Mac } from '@tidemark/protocol';
import { openFold, type Fold } from '../fold/fold.js';
import type { FoldState } from '../fold/fold-state.js';
import { encodeInputEntry, type InputEntry } from '../fold/input-entry.js';
import { openAppliedStore, type AppliedStore } from './applied-store.js';
import { checkpointsKeptDefault, createCheckpoints, type Checkpoints } from './checkpoints.js';
import { bringBack, hasLost, leftOverFrom } from './bring-back.js';
import { behindWaitMs, createEndpoints } from './endpoints.js';
import { explainValue } from './explain.js';
import { horizonDefault, openFeedHorizon, type FeedHorizon } from './feed-horizon.js';
import { comparePositions } from './fellows.js';
import { joinFellows, neededByNobody, type Fellowship } from './fellowship.js';
import { awaitApplied, awaitEnd } from './await-applied.js';
import { isApplied, startFoldDriver, type FoldDriver } from './fold-driver.js';
import { createIdentityDesk } from './identity-desk.js';
import { createInputWriter } from './input-writer.js';
import type { Merger } from './merger-door.js';
import type { MergerOptions } from './merger-options.js';
import { openLine } from './open-line.js';
import type { ServerEvent } from './server-event.js';
import { serverChanges } from './server-changes.js';
import {
  listSyncErrors,
  readSyncError,
  resolveChoices,
  showSyncError,
  type SyncErrorView,
} from './sync-error-desk.js';
import { openPreparedFills, preparedDefault, type PreparedFills } from './prepared-fills.js';
import { createReceiptKey, type ReceiptKey } from './receipt-key.js';
import { createRewindGuard, type RewindGuard } from './rewind-guard.js';
import { createSyncLogBook } from './sync-log-book.js';
import { tellRefusals } from './tell-refusals.js';
import { createTableSizes } from './table-sizes.js';

interface Parts {
  readonly options: MergerOptions;
  readonly applied: AppliedStore;
  readonly fold: Fold;
  readonly driver: FoldDriver;
  readonly horizon: FeedHorizon;
  readonly checkpoints: Checkpoints | undefined;
  readonly append: (bytes: Uint8Array) => Promise<InputPosition>;
  readonly emit: (event: ServerEvent) => void;
}

/** Time after which a checkpoint that is needed and failed is tried again, with a window, ms. */
export const checkpointRetryMs = 60_000;

const codeOf = (cause: unknown): string =>
  cause instanceof TidemarkError ? cause.code : 'invariant-violation';

/** Work after windows, never in their way: horizon and checkpoints, one at a time. */
const createUpkeep = (
  parts: Omit<Parts, 'driver' | 'append'>,
): {
  readonly nudge: () => void;
  readonly writeCheckpoint: () => void;
  /** Writes a checkpoint now; one that fails is told, and tried again after a while. */
  readonly tryCheckpoint: () => Promise<void>;
  readonly stop: () => Promise<void>;
} => {
  const { options, applied, horizon, checkpoints, emit } = parts;
  const everyOps = options.checkpoints?.everyOps;
  let lastOps = applied.applied().counts.operations;
  let running: Promise<void> | null = null;
  let wanted = false;
  let mustWrite = false;
  let isStopped = false;
  let failedAtMs = Number.NEGATIVE_INFINITY;
  const tryCheckpoint = async (): Promise<void> => {
    try {
      await checkpoints?.write();
    } catch (cause) {
      mustWrite = true;
      failedAtMs = options.clock.nowMs();
      emit({ type: 'background-failed', work: 'checkpoint', code: codeOf(cause) });
    }
  };
  const once = async (): Promise<void> => {
    if (await horizon.advance()) emit({ type: 'horizon', ...horizon.horizon() });
    // Whoever began this line may have died before its first checkpoint: the others cannot begin without one.
    const { incarnation, position } = applied.applied();
    const lacksOne = (checkpoints?.newest()?.incarnation ?? 0) < incarnation;
    mustWrite ||= options.fellows !== undefined && position.generation > 1 && lacksOne;
    if (mustWrite && Math.abs(options.clock.nowMs() - failedAtMs) >= checkpointRetryMs) {
      mustWrite = false;
      await tryCheckpoint();
    }
    const ops = applied.applied().counts.operations;
    if (checkpoints === undefined || everyOps === undefined || ops - lastOps < everyOps) return;
    lastOps = ops;
    const manifest = await checkpoints.write();
    if (manifest !== undefined) emit({ type: 'checkpoint-written', n: manifest.n });
  };
  const nudge = (): void => {
    wanted = true;
    if (running !== null || isStopped) return;
    running = (async () => {
      while (wanted && !isStopped) {
        wanted = false;
        try {
          await once();
        } catch (cause) {
          emit({ type: 'background-failed', work: 'upkeep', code: codeOf(cause) });
        }
      }
    })().finally(() => {
      running = null;
      // A nudge between the loop's last look and its end must not be lost.
      if (wanted) nudge();
    });
  };
  return {
    nudge,
    tryCheckpoint,
    writeCheckpoint: () => {
      mustWrite = true;
      nudge();
    },
    stop: async () => {
      isStopped = true;
      await running;
    },
  };
};

const createDesk = (parts: Parts): Pick<Merger, 'syncErrors' | 'syncError' | 'resolve'> => {
  const { applied, fold, options } = parts;
  const show = async (root: string): Promise<SyncErrorView | undefined> => {
    const row = await readSyncError(applied, root);
    return row === undefined ? undefined : showSyncError(applied, fold.schema(), row);
  };
  return {
    syncErrors: (list) => listSyncErrors(applied, fold.schema(), list),
    syncError: show,
    resolve: async (root, input) => {
      const choices = resolveChoices(fold.schema(), input);
      const before = await show(root);
      if (before === undefined)
        throw new TidemarkError('invalid-resolution', 'there is no such sync error', { root });
      const id = `central-${hexId(options.entropy.bytes(16))}`;
      await submit(parts, {
        kind: 'resolution',
        by: input.user,
        id,
        resolution: { root, action: input.action, shown: input.shown ?? before.shown, choices },
      });
      const error = (await show(root)) ?? before;
      const last = error.lastResolution;
      // The error keeps its newest resolution only: if another one came at once, the first in order held.
      return { verdict: last?.id === id ? last.verdict : 'duplicate', error };
    },
  };
};

const hexId = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

const submit = async (
  parts: Pick<Parts, 'options' | 'applied' | 'driver' | 'append'>,
  entry: InputEntry,
): Promise<FoldState> => {
  const position = await parts.append(encodeInputEntry(entry));
  if (!(await awaitApplied({ ...parts, input: parts.options.input }, position)))
    throw new TidemarkError('input-mismatch', 'the input lost the message before it was applied', {
      ...position,
    });
  return parts.applied.applied();
};

/** Stores again what this line of history lacks; what cannot be stored now is left to the next opening. */
const bringBackLost = async (
  { options, applied, append, emit }: Parts,
  settle: () => Promise<FoldState>,
): Promise<void> => {
  try {
    if (!(await hasLost(applied.store))) return;
    await settle();
    const { messages, tooOld } = await bringBack({
      store: applied.store,
      input: options.input,
      hash: options.crypto.sha256,
      folded: () => applied.applied().counts.messages,
      append,
    });
    if (messages + tooOld > 0) emit({ type: 'input-brought-back', messages, tooOld });
  } catch (cause) {
    emit({ type: 'background-failed', work: 'bringing input back', code: codeOf(cause) });
  }
};

interface ServiceParts {
  readonly ticks: Set<() => void>;
  readonly book: ReturnType<typeof createSyncLogBook>;
  readonly sizes: ReturnType<typeof createTableSizes>;
  readonly prepared: PreparedFills;
  readonly settle: () => Promise<FoldState>;
  readonly hasCaughtUp: () => boolean;
  readonly guard: RewindGuard;
  readonly receiptKey: ReceiptKey;
  readonly mac: Mac;
}

const createService = (
  parts: Parts,
  { ticks, book, sizes, prepared, settle, hasCaughtUp, guard, receiptKey, mac }: ServiceParts,
): Service => {
  const { options, applied, fold, driver, horizon, checkpoints } = parts;
  const answer = createEndpoints({
    tenant: options.tenant,
    applied,
    schema: fold.schema,
    driver,
    crypto: options.crypto,
    compression: options.compression,
    clock: options.clock,
    mac,
    horizon: horizon.horizon,
    archived: (replica) => checkpoints?.archived(replica),
    prepared,
    sizes,
    book,
    submit: (entry) => submit(parts, entry),
    settle,
    hasCaughtUp,
    guard,
    receiptKey,
    enroll: { hook: options.authenticate, timer: options.timer },
    protocols: options.protocols,
  });
  return {
    publish: async (caller, envelope) => {
      if (caller.tenant !== options.tenant)
        throw new TidemarkError('wrong-tenant', 'the server serves another tenant');
      const decoded = decodeEnvelope(envelope);
      if (isLeft(decoded))
        throw new TidemarkError(
          decoded.left === 'newer-format' ? 'newer-protocol' : 'malformed-message',
          'the envelope cannot be decoded',
        );
      const { replica, user } = decoded.right;
      if (replica !== caller.replica || user !== caller.user)
        throw new TidemarkError('malformed-message', 'the envelope is of another replica');
      const { tenant } = caller;
      await parts.append(
        encodeInputEntry({ kind: 'envelope', caller: { tenant, replica, user }, envelope }),
      );
    },
    answer: tellRefusals(answer, parts.emit),
    onTick: (callback) => {
      ticks.add(callback);
      return () => ticks.delete(callback);
    },
  };
};

/**
 * Opens the merger of a tenant on its store and input: brings the store to the input (see `openLine`),
 * starts to fold and answers. Rejects as `openLine` does, and with `newer-format`; then nothing of it folds
 * or writes any more.
 */
export const openMerger = async (options: MergerOptions): Promise<Merger> => {
  const { tenant, crypto, fellows } = options;
  const emit = (event: ServerEvent): void => {
    const { type, ...fields } = event;
    const flat: Record<string, string | number | boolean> = {};
    for (const [key, value] of Object.entries(fields))
      flat[key] = typeof value === 'object' ? JSON.stringify(value) : value;
    options.logger?.log(type === 'fold-failed' || type === 'damage' ? 'error' : 'info', type, flat);
    options.onEvent?.(event);
  };
  const isNew = (await options.store.readState()) === undefined;
  const sizes = createTableSizes(isNew && options.checkpoints === undefined);
  const onCommits = [sizes.onCommit];
  const applied = await openAppliedStore(options.store, tenant, (batch) => {
    for (const onCommit of onCommits) onCommit(batch);
  });
  sizes.attach(applied);
  const line = await openLine({
    tenant,
    applied,
    input: options.input,
    checkpoints: options.checkpoints?.folder,
    hash: crypto.sha256,
    timer: options.timer,
    fellows,
    damage: options.isReopened === true ? [] : [...options.store.damage, ...options.input.damage],
    newIncarnation: options.newIncarnation,
    onEvent: emit,
  });
  const fold = await openFold({
    tenant,
    store: applied.store,
    input: options.input,
    crypto,
    crdt: options.crdt,
    keepInput: fellows !== undefined,
    ...(options.validate === undefined ? {} : { validate: options.validate }),
    ...(options.window === undefined ? {} : { window: options.window }),
  });
  const horizon = await openFeedHorizon(applied, { ...horizonDefault, ...options.horizon });
  const prepared = openPreparedFills({
    applied,
    horizon: horizon.horizon,
    clock: options.clock,
    parts: { hash: crypto.sha256, compression: options.compression },
    limits: { ...preparedDefault, ...options.prepared },
    onPrepared: sizes.learn,
    onFailed: ({ code }) => emit({ type: 'background-failed', work: 'preparing blocks', code }),
  });
  onCommits.push(prepared.onCommit);
  const checkpoints =
    options.checkpoints === undefined
      ? undefined
      : createCheckpoints(applied, {
          folder: options.checkpoints.folder,
          keep: Math.max(1, options.checkpoints.keep ?? checkpointsKeptDefault),
          tenant,
          hash: crypto.sha256,
          damaged: line.damaged,
          newest: line.checkpoint?.manifest,
          onWritten: async (oldest) => {
            await fold.forgetInput(oldest);
            if (options.checkpoints?.trimInput !== true) return;
            // Not either what an opening has still to bring back.
            const left = await leftOverFrom(applied.store);
            const kept = left !== undefined && comparePositions(left, oldest) < 0 ? left : oldest;
            await options.input.trim(fellows === undefined ? kept : neededByNobody(fellows, kept));
          },
        });
  const ticks = new Set<() => void>();
  const upkeep = createUpkeep({ options, applied, fold, horizon, checkpoints, emit });
  let known = applied.applied().incarnation;
  fold.onApplied(({ state: { incarnation, n }, quarantined }) => {
    if (incarnation > known) emit({ type: 'incarnation-folded', incarnation, n });
    known = incarnation;
    for (const { position, ...rest } of quarantined)
      emit({ type: 'quarantined', ...rest, ...position });
    for (const tick of [...ticks]) tick();
    upkeep.nudge();
  });
  const driver = startFoldDriver(fold, options.timer, (error, halted) => {
    emit({ type: 'fold-failed', code: error.code, halted });
  });
  const stopWatching = options.input.onGrown?.(driver.nudge);
  const writer = createInputWriter(options.input, driver.nudge);
  const book = createSyncLogBook(options.store, options.clock, emit);
  const parts: Parts = {
    options,
    applied,
    fold,
    driver,
    horizon,
    checkpoints,
    append: writer.append,
    emit,
  };
  const receiptKey = createReceiptKey(tenant, options.cursorKey, crypto);
  const mac: Mac = (bytes) => crypto.hmacSha256(options.cursorKey, bytes);
  const settle = (): Promise<FoldState> => awaitEnd({ input: options.input, applied, driver });
  const guard = createRewindGuard({
    applied,
    input: options.input,
    writer,
    driver,
    mac,
    waitMs: behindWaitMs,
    checkpoints: options.checkpoints?.folder,
    onEvent: emit,
    // A line without a checkpoint of its own could not tell its replicas what is archived.
    onRewound: upkeep.writeCheckpoint,
  });
  let openedAt: InputPosition | undefined;
  // The end may run ahead of a busy fold, and the place of the opening may be lost: each of them is enough.
  const hasCaughtUp = (): boolean =>
    driver.hasCaughtUp() || (openedAt !== undefined && isApplied(applied.applied(), openedAt));
  let fellowship: Fellowship | undefined;
  const stop = async (): Promise<void> => {
    stopWatching?.();
    await fellowship?.stop();
    await driver.stop();
    await upkeep.stop();
    await writer.idle();
    await sizes.idle();
  };
  const begin = async (): Promise<void> => {
    // Before anybody is answered: what this opening shows is of a life of its own.
    const life = encodeInputEntry({ kind: 'life', id: hexId(options.entropy.bytes(16)) });
    openedAt = await writer.append(life).catch(async (cause: unknown) => {
      const isFull = cause instanceof TidemarkError && cause.code === 'input-full';
      if (!isFull || checkpoints === undefined) throw cause;
      // Only what a checkpoint holds may leave a full input.
      await settle();
      await checkpoints.write();
      return writer.append(life);
    });
    driver.nudge();
    const { lost } = line;
    if (lost !== undefined) {
      // Another server may have begun an incarnation above it meanwhile.
      const { by, ...version } = lost;
      const isAbove = (): boolean => applied.applied().incarnation > lost.incarnation;
      await guard.rewind(() => Promise.resolve(isAbove() ? undefined : version), by);
    }
    if (fellows !== undefined) await bringBackLost(parts, settle);
    if (line.isNewIncarnation) {
      await settle();
      // A line without a checkpoint of its own could not tell its replicas what is archived.
      await upkeep.tryCheckpoint();
    }
  };
  try {
    await begin();
  } catch (cause) {
    // A driver left behind would go on folding into a store that the next opening folds into.
    await stop();
    throw cause;
  }
  if (fellows !== undefined)
    fellowship = joinFellows({ options, fellows, applied, fold, driver, emit });
  const waitPast = async (n: number, signal: AbortSignalLike | undefined): Promise<boolean> => {
    const { incarnation } = applied.applied();
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const isPast = (): boolean =>
      applied.applied().n > n || applied.applied().incarnation !== incarnation;
    const check = (): void => {
      if (isPast() || signal?.aborted === true || isClosed) wake();
    };
    ticks.add(check);
    closers.add(check);
    signal?.addEventListener('abort', check);
    check();
    await woken;
    ticks.delete(check);
    closers.delete(check);
    signal?.removeEventListener('abort', check);
    return isPast();
  };
  let isClosed = false;
  const closers = new Set<() => void>();
  return {
    service: createService(parts, {
      ...{ ticks, book, sizes, prepared, settle, hasCaughtUp, guard, receiptKey, mac },
    }),
    store: applied.store,
    state: applied.applied,
    schema: fold.schema,
    submit: (entry) => submit(parts, entry),
    settle,
    alone: applied.alone,
    publish: async (customization, user) => {
      const state = await submit(parts, { kind: 'customization', by: user, json: customization });
      if (state.customizationVersion !== customization.version)
        throw new TidemarkError('destructive-change', 'the customization was refused', {
          version: customization.version,
          current: state.customizationVersion,
        });
      return state;
    },
    explain: (request) => explainValue(applied, fold.schema(), request),
    changes: (since, signal) =>
      serverChanges(
        { applied, schema: fold.schema, horizon: horizon.horizon, waitPast },
        since,
        signal,
      ),
    ...createDesk(parts),
    identities: createIdentityDesk({
      applied,
      crypto,
      clock: options.clock,
      entropy: options.entropy,
      submit: (entry) => submit(parts, entry),
      receiptKeys: [receiptKey.publicKey],
    }),
    syncLogs: (limit) => book.list(limit),
    checkpoint: async () => {
      const manifest = await checkpoints?.write();
      if (manifest !== undefined) emit({ type: 'checkpoint-written', n: manifest.n });
      return manifest;
    },
    status: () => ({
      state: applied.applied(),
      horizon: horizon.horizon(),
      checkpoint: checkpoints?.newest(),
      failure: driver.failure(),
    }),
    close: async () => {
      isClosed = true;
      for (const close of [...closers]) close();
      await stop();
    },
  };
};
