import { TidemarkError, toHex, type Hash } from '@tidemark/model';
import type {
  AbortSignalLike,
  CheckpointFolder,
  InputLog,
  InputPosition,
  ServerStore,
} from '@tidemark/ports';
import { openFold, type FoldOptions } from '../fold/fold.js';
import type { FoldState } from '../fold/fold-state.js';
import { readManifest } from './checkpoints.js';
import { comparePositions } from './fellows.js';

/** A store beside the server's own, for a while. */
export interface ScratchStore {
  readonly store: ServerStore;
  readonly dispose: () => Promise<void>;
}

/** What folding again works with. */
export interface RefoldParts {
  readonly tenant: string;
  readonly hash: Hash;
  readonly input: InputLog;
  readonly checkpoints: CheckpointFolder | undefined;
  readonly fold: Pick<FoldOptions, 'crypto' | 'crdt' | 'validate' | 'window'>;
  readonly signal: AbortSignalLike;
}

/** Input that ends at a position. */
const endingAt = (input: InputLog, end: InputPosition): InputLog => ({
  ...input,
  extent: async () => {
    const extent = await input.extent();
    const first = extent.generation === end.generation ? extent.first : 1;
    return { generation: end.generation, first, last: end.seq };
  },
  read: async (after, bounds) =>
    (await input.read(after, bounds)).filter(
      ({ position }) => comparePositions(position, end) <= 0,
    ),
  hashAt: (position) => input.hashAt(position),
});

/** Loads the newest checkpoint at or before a position that the input still continues. */
const loadBase = async (
  { tenant, hash, input, checkpoints }: RefoldParts,
  store: ServerStore,
  upTo: InputPosition,
): Promise<boolean> => {
  const names = (await checkpoints?.list()) ?? [];
  for (const name of [...names].reverse()) {
    try {
      const manifest = await readManifest(checkpoints as CheckpointFolder, name, tenant, hash);
      if (comparePositions(manifest.position, upTo) > 0) continue;
      const stored = await input.hashAt(manifest.position);
      if (stored !== undefined && toHex(stored) !== manifest.inputHash) continue;
      await store.load((checkpoints as CheckpointFolder).readChunks(name));
      return true;
    } catch (cause) {
      if (!(cause instanceof TidemarkError) || cause.code !== 'checkpoint-invalid') throw cause;
    }
  }
  return false;
};

/**
 * Folds the input again into an empty store, up to a position: from the newest checkpoint before it, else
 * from the beginning. Resolves with the state there; undefined when neither is to be had.
 */
export const refold = async (
  parts: RefoldParts,
  { store }: ScratchStore,
  upTo: InputPosition,
): Promise<FoldState | undefined> => {
  const { tenant, input, fold: options, signal } = parts;
  const hasBase = await loadBase(parts, store, upTo);
  const fold = await openFold({ ...options, tenant, store, input: endingAt(input, upTo) });
  if (!hasBase) {
    // Without a checkpoint everything must be there, from the first message on.
    const extent = await input.extent();
    if (extent.generation === 1 && extent.first > 1) return undefined;
  }
  try {
    const state = await fold.advance({ signal });
    return comparePositions(state.position, upTo) === 0 ? state : undefined;
  } catch (cause) {
    const isGone =
      cause instanceof TidemarkError &&
      (cause.code === 'storage-damaged' || cause.code === 'input-mismatch');
    if (isGone) return undefined;
    throw cause;
  }
};
