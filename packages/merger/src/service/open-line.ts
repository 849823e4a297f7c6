import { TidemarkError, toHex, type Hash } from '@tidemark/model';
import type { CheckpointFolder, InputExtent, InputLog, StoreDamage } from '@tidemark/ports';
import { isAnnounced } from '../fold/announced-incarnation.js';
import type { FoldState } from '../fold/fold-state.js';
import { encodeInputEntry } from '../fold/input-entry.js';
import type { AppliedStore } from './applied-store.js';
import { newestCheckpoint, type CheckpointManifest } from './checkpoints.js';

/** Things that a server tells while it runs; ids and counts only. */
export type ServerEvent =
  | { readonly type: 'damage'; readonly damage: StoreDamage }
  | {
      readonly type: 'checkpoint-loaded';
      readonly checkpoint: string;
      readonly n: number;
      readonly unreadable: readonly string[];
    }
  | {
      /** Input was missing: the server goes on from what it has, under a new incarnation. */
      readonly type: 'incarnation';
      readonly incarnation: number;
      readonly n: number;
      /** Messages that the store had folded and the input lacks now; 0 when it cannot be told. */
      readonly missingMessages: number;
      readonly checkpoint: string | null;
    }
  | {
      /**
       * The server was put back to an older copy of itself: it goes on from that, under a new incarnation,
       * and replicas offer again and repair. `shown` is the version that proves it.
       */
      readonly type: 'rewound';
      readonly incarnation: number;
      readonly n: number;
      readonly shown: { readonly incarnation: number; readonly n: number };
      readonly by: 'cursor' | 'checkpoint';
    }
  | {
      /** The space of the input crossed 70% or 90% of its limit, in one direction or the other. */
      readonly type: 'input-space';
      readonly bytes: number;
      readonly bytesMax: number;
      /** Share that was reached; 0 when the alarm ended. */
      readonly alarmPercent: number;
    }
  /** The connection to NATS has ended for good: this process can serve no more. */
  | { readonly type: 'connection-ended'; readonly code: string }
  | { readonly type: 'checkpoint-written'; readonly n: number }
  | { readonly type: 'horizon'; readonly incarnation: number; readonly n: number }
  | { readonly type: 'fold-failed'; readonly code: string; readonly halted: boolean }
  | { readonly type: 'background-failed'; readonly work: string; readonly code: string };

/** What opening found. */
export interface OpenedLine {
  readonly checkpoint: { readonly name: string; readonly manifest: CheckpointManifest } | undefined;
  readonly isNewIncarnation: boolean;
  /** The newest checkpoint is of input that is missing now: store and input were put back together. */
  readonly isRewound: boolean;
}

interface OpenLineOptions {
  readonly tenant: string;
  readonly applied: AppliedStore;
  readonly input: InputLog;
  readonly checkpoints: CheckpointFolder | undefined;
  readonly hash: Hash;
  readonly damage: readonly StoreDamage[];
  readonly onEvent: (event: ServerEvent) => void;
}

const isOlder = (state: FoldState, manifest: CheckpointManifest): boolean =>
  state.incarnation < manifest.incarnation ||
  (state.incarnation === manifest.incarnation && state.n < manifest.n);

const asState = ({
  n,
  position,
  inputHash,
}: CheckpointManifest): Pick<FoldState, 'n' | 'position' | 'lastHash'> => ({
  n,
  position,
  lastHash: inputHash,
});

/** Whether the input holds what the store has folded last, and everything after it. */
const findInput = async (
  state: FoldState,
  input: InputLog,
  extent: InputExtent,
): Promise<'continues' | 'announced' | 'missing' | 'begins-later'> => {
  const { generation, seq } = state.position;
  if (generation > extent.generation) return 'missing';
  // An opening that ended before it folded the message that it had stored.
  if (generation < extent.generation && (await isAnnounced(input, state))) return 'announced';
  if (seq === 0) {
    const begins = generation === extent.generation ? extent.first <= 1 : true;
    return begins || state.n > 0 ? 'continues' : 'begins-later';
  }
  const hash = await input.hashAt(state.position);
  if (hash !== undefined) return toHex(hash) === state.lastHash ? 'continues' : 'missing';
  if (generation < extent.generation) return 'missing';
  // Trimmed exactly up to the position: the next message is the first one kept.
  if (extent.last >= seq && extent.first === seq + 1) return 'continues';
  return extent.last >= seq && extent.first > seq + 1 ? 'begins-later' : 'missing';
};

const startIncarnation = async (
  options: OpenLineOptions,
  state: FoldState,
  extent: InputExtent,
  checkpoint: string | null,
): Promise<void> => {
  const { input, onEvent } = options;
  const last = { generation: extent.generation, seq: extent.last };
  const hash = extent.last === 0 ? undefined : await input.hashAt(last);
  const message = encodeInputEntry({
    kind: 'incarnation',
    incarnation: state.incarnation + 1,
    position: state.position,
    digest: state.digest,
    checkpoint,
    lastGood: { ...last, hash: hash === undefined ? '' : toHex(hash) },
  });
  // A position names one message only: generations that the state has passed are left behind.
  let { generation, last: end } = extent;
  while (generation < state.position.generation) {
    await input.startGeneration({ generation, last: end }, message);
    [generation, end] = [generation + 1, 1];
  }
  await input.startGeneration({ generation, last: end }, message);
  const missing =
    state.position.generation === extent.generation
      ? Math.max(0, state.position.seq - extent.last)
      : 0;
  onEvent({
    type: 'incarnation',
    incarnation: state.incarnation + 1,
    n: state.n,
    missingMessages: missing,
    checkpoint,
  });
};

/**
 * Brings a store to a point from which the input can be folded.
 *
 * A damaged or empty store takes the newest checkpoint; so does one that is older than the input's
 * beginning. A store older than an intact input only folds the tail: same incarnation. Where input is
 * missing that the store had folded, the first message of a new generation starts a new incarnation.
 * Rejects with `storage-damaged` (a damaged store and no checkpoint), `store-missing` (the input begins
 * after what any copy holds), `checkpoint-invalid`.
 */
export const openLine = async (options: OpenLineOptions): Promise<OpenedLine> => {
  const { tenant, applied, input, checkpoints, hash, damage, onEvent } = options;
  for (const one of damage) onEvent({ type: 'damage', damage: one });
  const newest =
    checkpoints === undefined ? undefined : await newestCheckpoint(checkpoints, tenant, hash);
  let state = applied.applied();
  if (state.tenant !== tenant)
    throw new TidemarkError('wrong-tenant', 'the store is of another tenant');
  const isEmpty = state.n === 0 && state.position.seq === 0;
  let extent = await input.extent();
  let found = await findInput(state, input, extent);
  const isDamaged = damage.length > 0 && !isEmpty;
  const mustLoad =
    isDamaged ||
    (newest !== undefined &&
      isOlder(state, newest.manifest) &&
      (isEmpty || (found !== 'continues' && found !== 'announced')));
  if (mustLoad) {
    if (newest === undefined || checkpoints === undefined)
      throw new TidemarkError(
        'storage-damaged',
        'the store is damaged and there is no checkpoint',
        {
          damages: damage.length,
        },
      );
    state = await applied.reload(checkpoints.readChunks(newest.name));
    if (state.digest !== newest.manifest.digest)
      throw new TidemarkError(
        'checkpoint-invalid',
        `checkpoint ${newest.name} is not what it says`,
      );
    onEvent({
      type: 'checkpoint-loaded',
      checkpoint: newest.name,
      n: state.n,
      unreadable: newest.unreadable,
    });
    extent = await input.extent();
    found = await findInput(state, input, extent);
  }
  if (found === 'begins-later')
    throw new TidemarkError('store-missing', 'the input begins after what the store holds', {
      first: extent.first,
      position: state.position.seq,
    });
  if (found === 'missing')
    await startIncarnation(options, state, extent, mustLoad ? (newest?.name ?? null) : null);
  return {
    checkpoint: newest,
    isNewIncarnation: found === 'missing' || found === 'announced',
    isRewound:
      found === 'continues' &&
      newest !== undefined &&
      isOlder(state, newest.manifest) &&
      (await findInput({ ...state, ...asState(newest.manifest) }, input, extent)) === 'missing',
  };
};
