import { TidemarkError, toHex, type Hash } from '@tidemark/model';
import type { InputExtent, InputLog } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import { encodeInputEntry } from '../fold/input-entry.js';
import type { AppliedStore } from './applied-store.js';
import { noteLeftOver } from './bring-back.js';
import { standOf, type Fellows } from './fellows.js';
import type { ServerEvent } from './server-event.js';

/** What starting works with. */
export interface StartParts {
  readonly applied: AppliedStore;
  readonly input: InputLog;
  readonly hash: Hash;
  readonly fellows: Fellows | undefined;
  readonly onEvent: (event: ServerEvent) => void;
}

/** How an incarnation starts. */
export interface IncarnationStart {
  readonly state: FoldState;
  readonly extent: InputExtent;
  /** Greatest incarnation that is known to be given. */
  readonly given: number;
  /** Checkpoint from which the state was loaded. */
  readonly checkpoint: string | null;
}

/**
 * Starts a new incarnation from a state whose input is missing, as the first message of a new generation. Notes
 * before what the input holds and the state lacks. Rejects with `behind` when the input does not end at the extent.
 */
export const startIncarnation = async (
  { applied, input, hash: digestOf, fellows, onEvent }: StartParts,
  { state, extent, given, checkpoint }: IncarnationStart,
): Promise<void> => {
  const last = { generation: extent.generation, seq: extent.last };
  const hash = extent.last === 0 ? undefined : await input.hashAt(last);
  const incarnation = Math.max(state.incarnation, given) + 1;
  const message = encodeInputEntry({
    kind: 'incarnation',
    incarnation,
    position: state.position,
    digest: state.digest,
    checkpoint,
    lastGood: { ...last, hash: hash === undefined ? '' : toHex(hash) },
  });
  // What the stream holds and this line lacks is stored again, also by the next opening.
  const notes =
    fellows === undefined
      ? undefined
      : await noteLeftOver({ store: applied.store, state, input, extent, hash: digestOf });
  // Whoever goes on from here must not trim that meanwhile.
  if (notes?.from !== undefined) fellows?.say('stand', { ...standOf(state), position: notes.from });
  // From now on others can go on only from this state: it must outlive the power.
  await applied.store.sync();
  try {
    // A position names one message only: generations that the state has passed are left behind.
    let { generation, last: end } = extent;
    while (generation < state.position.generation) {
      await input.startGeneration({ generation, last: end }, message);
      [generation, end] = [generation + 1, 1];
    }
    await input.startGeneration({ generation, last: end }, message);
  } catch (cause) {
    // Another server won, and does this.
    if (cause instanceof TidemarkError && cause.code === 'behind') await notes?.drop();
    throw cause;
  }
  const missing =
    state.position.generation === extent.generation
      ? Math.max(0, state.position.seq - extent.last)
      : 0;
  onEvent({
    type: 'incarnation',
    incarnation,
    n: state.n,
    missingMessages: missing,
    checkpoint,
  });
};
