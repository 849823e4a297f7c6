import { TidemarkError, type Hash } from '@tidemark/model';
import type { CheckpointFolder, InputExtent, InputLog, StoreDamage, Timer } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import { setKeptAside } from '../fold/input-memory.js';
import type { AppliedStore } from './applied-store.js';
import { isCutAboveFork } from './bring-back.js';
import {
  greatestIncarnation,
  newestCheckpoint,
  readableCheckpoints,
  type CheckpointManifest,
  type ReadableCheckpoint,
} from './checkpoints.js';
import { standForIncarnation } from './election.js';
import { comparePositions, type Fellows } from './fellows.js';
import { findInput, type InputFound } from './find-input.js';
import { laterOf, noteLeftLine, readLeftLine, type ShownVersion } from './left-line.js';
import type { ServerEvent } from './server-event.js';
import { startIncarnation } from './start-incarnation.js';

/** Longest wait for a checkpoint of the line on which the other servers go on, ms. */
export const lineCheckpointMsMax = 15_000;
/** Time between two looks for one, ms. */
const lineCheckpointEveryMs = 250;
/** Times that an opening looks at the input anew, because others changed it meanwhile. */
const looksMax = 8;

/** What opening found. */
export interface OpenedLine {
  readonly checkpoint: { readonly name: string; readonly manifest: CheckpointManifest } | undefined;
  readonly isNewIncarnation: boolean;
  /** Names of checkpoints that could not be loaded. */
  readonly damaged: ReadonlySet<string>;
  /** A version that was given once, and that the line on which the store stands now does not have. */
  readonly lost: ShownVersion | undefined;
}

interface OpenLineOptions {
  readonly tenant: string;
  readonly applied: AppliedStore;
  readonly input: InputLog;
  readonly checkpoints: CheckpointFolder | undefined;
  readonly hash: Hash;
  readonly timer: Timer;
  /** The other servers of the tenant; undefined where there are none by construction. */
  readonly fellows: Fellows | undefined;
  readonly damage: readonly StoreDamage[];
  /** Rejects where a new incarnation would begin; nothing is noted then. */
  readonly newIncarnation: 'refuse' | undefined;
  readonly onEvent: (event: ServerEvent) => void;
}

const refused = (incarnation: number): TidemarkError =>
  new TidemarkError(
    'input-mismatch',
    'the input lacks what the server has folded: serving it goes on under a new incarnation, looking does not',
    { incarnation },
  );

const isOlder = (state: FoldState, manifest: CheckpointManifest): boolean =>
  state.incarnation < manifest.incarnation ||
  (state.incarnation === manifest.incarnation && state.n < manifest.n);

/** Older, or of the same version and not as far in the input: grants and lives take no version. */
const liesBehind = (state: FoldState, manifest: CheckpointManifest): boolean =>
  isOlder(state, manifest) ||
  (state.incarnation === manifest.incarnation &&
    state.n === manifest.n &&
    comparePositions(state.position, manifest.position) < 0);

const asState = ({
  n,
  position,
  digest,
  inputHash,
}: CheckpointManifest): Pick<FoldState, 'n' | 'position' | 'digest' | 'lastHash'> => ({
  n,
  position,
  digest,
  lastHash: inputHash,
});

class LineOpening {
  readonly #options: OpenLineOptions;
  #state: FoldState;
  #extent: InputExtent;
  #newest: ReadableCheckpoint | undefined;
  #loaded: string | null = null;
  #left: ShownVersion | undefined;
  readonly #damaged = new Set<string>();

  constructor(options: OpenLineOptions, extent: InputExtent) {
    this.#options = options;
    this.#state = options.applied.applied();
    this.#extent = extent;
  }

  async open(): Promise<OpenedLine> {
    const { damage, fellows } = this.#options;
    this.#left = await readLeftLine(this.#options.applied.store, this.#state);
    this.#newest = await this.#newestCheckpoint();
    const isEmpty = this.#state.n === 0 && this.#state.position.seq === 0;
    let found = await this.#find();
    const isDamaged = damage.length > 0 && !isEmpty;
    const isBehind =
      this.#newest !== undefined &&
      liesBehind(this.#state, this.#newest.manifest) &&
      (isEmpty || (found !== 'continues' && found !== 'announced'));
    // Another server may write a checkpoint of the line on which the input goes on; alone, the newest is the one.
    const isElsewhere = found === 'elsewhere' && fellows !== undefined;
    if (isDamaged || (isBehind && !isElsewhere)) {
      await this.#load(this.#newest);
      found = await this.#find();
    }
    let hasBegun = false;
    for (let looks = 1; found !== 'continues' && found !== 'announced'; looks += 1) {
      if (looks > looksMax)
        throw new TidemarkError('unreachable', 'the input changes all the time');
      if (found !== 'missing') await this.#join(found);
      else if (!(await this.#joinFork())) hasBegun = await this.#begin();
      if (hasBegun) break;
      found = await this.#find();
    }
    return {
      checkpoint: this.#newest,
      damaged: this.#damaged,
      isNewIncarnation: hasBegun || found === 'announced',
      lost: hasBegun ? undefined : laterOf(await this.#shownByCheckpoint(), this.#leftBeyond()),
    };
  }

  /** Version of the line that this store has left, unless the line that it joined is of a later incarnation. */
  #leftBeyond(): ShownVersion | undefined {
    const left = this.#left;
    return left !== undefined && this.#state.incarnation > left.incarnation ? undefined : left;
  }

  async #newestCheckpoint(): Promise<ReadableCheckpoint | undefined> {
    const { checkpoints, tenant, hash } = this.#options;
    return checkpoints === undefined
      ? undefined
      : newestCheckpoint(checkpoints, tenant, hash, this.#damaged);
  }

  async #find(): Promise<InputFound> {
    const { input } = this.#options;
    this.#extent = await input.extent();
    return findInput(this.#state, this.#lookAt());
  }

  #lookAt() {
    const { input, fellows } = this.#options;
    return { input, extent: this.#extent, isShared: fellows !== undefined };
  }

  /** Loads a checkpoint of the line on which the input goes on, which is not this state's. */
  async #changeLine(leading: ReadableCheckpoint): Promise<void> {
    const { incarnation, n } = this.#state;
    const left = laterOf(this.#left, { incarnation, n, by: 'store' });
    if (n > 0) await noteLeftLine(this.#options.applied.store, left);
    this.#left = left;
    await this.#load(leading, () => this.#newestLeading());
  }

  /** Loads a checkpoint; where its bytes are damaged, the `next` one, else the next older one. */
  async #load(
    newest: ReadableCheckpoint | undefined,
    next?: () => Promise<ReadableCheckpoint | undefined>,
  ): Promise<void> {
    const { checkpoints, damage, applied, fellows } = this.#options;
    if (newest === undefined || checkpoints === undefined)
      throw new TidemarkError(
        'storage-damaged',
        'the store is damaged and there is no checkpoint',
        { damages: damage.length },
      );
    // What this store has folded and the checkpoint's line lacks is brought back.
    if (fellows !== undefined) await setKeptAside(applied.store);
    for (let found = newest; ;) {
      try {
        return await this.#loadOne(found, checkpoints);
      } catch (cause) {
        if (!(cause instanceof TidemarkError) || cause.code !== 'checkpoint-invalid') throw cause;
        this.#damaged.add(found.name);
        const older = (await next?.()) ?? (await this.#newestCheckpoint());
        if (older === undefined) throw cause;
        if (next === undefined) this.#newest = older;
        found = older;
      }
    }
  }

  async #loadOne(found: ReadableCheckpoint, checkpoints: CheckpointFolder): Promise<void> {
    const { name, manifest, unreadable } = found;
    this.#state = await this.#options.applied.reload(checkpoints.readChunks(name));
    if (this.#state.digest !== manifest.digest)
      throw new TidemarkError('checkpoint-invalid', `checkpoint ${name} is not what it says`);
    this.#loaded = name;
    this.#options.onEvent({
      type: 'checkpoint-loaded',
      checkpoint: name,
      n: this.#state.n,
      unreadable,
    });
  }

  /** Begins a new incarnation; false when another server has begun one meanwhile. */
  async #begin(): Promise<boolean> {
    const { fellows, timer, input, newIncarnation, applied, checkpoints } = this.#options;
    if (newIncarnation === 'refuse') throw refused(this.#state.incarnation);
    // Nobody else may know by now what the input has lost.
    await applied.store.sync();
    // Also numbers of lost lines above this one are given. Known before the last look at the input's end.
    const given = await greatestIncarnation(checkpoints);
    if (fellows === undefined) {
      await this.#start(given);
      return true;
    }
    const chosen = await standForIncarnation({ fellows, timer, input }, this.#state);
    if (chosen === 'look-again' || (await this.#find()) !== 'missing') return false;
    try {
      await this.#start(given);
      return true;
    } catch (cause) {
      if (cause instanceof TidemarkError && cause.code === 'behind') return false;
      throw cause;
    }
  }

  #start(given: number): Promise<void> {
    return startIncarnation(this.#options, {
      state: this.#state,
      extent: this.#extent,
      given: Math.max(given, this.#left?.incarnation ?? 0),
      checkpoint: this.#loaded,
    });
  }

  /**
   * Where the input went on from before this state, and what it held since is cut: takes the newest checkpoint
   * that leads on. That line cannot be brought back behind this one, only the other way round.
   */
  async #joinFork(): Promise<boolean> {
    const { fellows, newIncarnation, applied, input } = this.#options;
    if (fellows === undefined || newIncarnation === 'refuse') return false;
    const [state, extent] = [this.#state, this.#extent];
    if (!(await isCutAboveFork({ store: applied.store, state, input, extent }))) return false;
    const leading = await this.#newestLeading();
    if (leading === undefined) return false;
    await this.#changeLine(leading);
    return true;
  }

  async #newestLeading(): Promise<ReadableCheckpoint | undefined> {
    for await (const { one, would } of this.#placed())
      if (would === 'continues' || would === 'announced') return one;
    return undefined;
  }

  /** Takes a checkpoint from which the input can be folded; waits for one that another server writes. */
  async #join(found: 'elsewhere' | 'begins-later'): Promise<void> {
    const { fellows, timer, onEvent } = this.#options;
    const missing =
      found === 'elsewhere'
        ? new TidemarkError('input-mismatch', 'the input continues from another state', {
            incarnation: this.#state.incarnation,
          })
        : new TidemarkError('store-missing', 'the input begins after what the store holds', {
            first: this.#extent.first,
            position: this.#state.position.seq,
          });
    if (fellows === undefined) throw missing;
    onEvent({
      type: 'awaiting-checkpoint',
      reason: found === 'elsewhere' ? 'other-line' : 'input-gap',
      ...this.#state.position,
    });
    for (let waited = 0; ; waited += lineCheckpointEveryMs) {
      const isOver = waited >= lineCheckpointMsMax;
      const leading = await this.#leadingCheckpoint(found, isOver);
      if (leading !== undefined)
        return found === 'elsewhere' ? this.#changeLine(leading) : this.#load(leading);
      if (isOver) throw missing;
      await timer.sleep(lineCheckpointEveryMs);
      this.#extent = await this.#options.input.extent();
    }
  }

  /**
   * Newest checkpoint beyond this state from which the input can be folded. The newest of all may be of a line
   * that was lost, while the input went on from an older state. Whoever stands on another line waits for one
   * beyond it, and takes an older one in the end.
   */
  async #leadingCheckpoint(
    found: 'elsewhere' | 'begins-later',
    isOver: boolean,
  ): Promise<ReadableCheckpoint | undefined> {
    let lost: ReadableCheckpoint | undefined;
    for await (const { one, would } of this.#placed()) {
      const isBeyond =
        isOlder(this.#state, one.manifest) ||
        comparePositions(this.#state.position, one.manifest.position) < 0;
      if (!isBeyond && !(isOver && found === 'elsewhere')) continue;
      // The line of that checkpoint was perhaps the last, and lost its end: a new incarnation begins from it.
      if (would === 'missing' && isBeyond) lost ??= one;
      const leads = would === 'continues' || would === 'announced';
      if (leads && (lost === undefined || found === 'elsewhere')) return one;
    }
    return isOver ? lost : undefined;
  }

  /** Checkpoints that can be read, newest first, and where they stand to the input. */
  async *#placed(): AsyncGenerator<{
    readonly one: ReadableCheckpoint;
    readonly would: InputFound;
  }> {
    const { checkpoints, tenant, hash } = this.#options;
    this.#newest = undefined;
    if (checkpoints === undefined) return;
    for await (const one of readableCheckpoints(checkpoints, tenant, hash, this.#damaged)) {
      this.#newest ??= one;
      yield { one, would: await findInput(asState(one.manifest), this.#lookAt()) };
    }
  }

  /** Version of the newest checkpoint where the line on which this state stands does not have it. */
  async #shownByCheckpoint(): Promise<ShownVersion | undefined> {
    const newest = this.#newest?.manifest;
    if (newest === undefined || !isOlder(this.#state, newest)) return undefined;
    // On one line versions only rise: whoever was there and is older has folded other input.
    const isPassed = comparePositions(this.#state.position, newest.position) >= 0;
    const isLost = isPassed || (await findInput(asState(newest), this.#lookAt())) === 'missing';
    return isLost ? { incarnation: newest.incarnation, n: newest.n, by: 'checkpoint' } : undefined;
  }
}

/**
 * Brings a store to a point from which the input can be folded.
 *
 * A damaged or empty store takes the newest checkpoint; so does one that is older than the input's
 * beginning, and one whose line the other servers have left. A store older than an intact input only folds
 * the tail: same incarnation. Where input is missing that the store had folded, the first message of a new
 * generation starts a new incarnation; of several servers the most advanced one does it. Rejects with
 * `storage-damaged` (a damaged store and no checkpoint), `store-missing` (the input begins after what any
 * copy holds), `input-mismatch` (the input goes on from another state, and there is no checkpoint of it),
 * `checkpoint-invalid`.
 */
export const openLine = async (options: OpenLineOptions): Promise<OpenedLine> => {
  for (const one of options.damage) options.onEvent({ type: 'damage', damage: one });
  if (options.applied.applied().tenant !== options.tenant)
    throw new TidemarkError('wrong-tenant', 'the store is of another tenant');
  const line = await new LineOpening(options, await options.input.extent()).open();
  if (line.lost !== undefined && options.newIncarnation === 'refuse')
    throw refused(options.applied.applied().incarnation);
  return line;
};
