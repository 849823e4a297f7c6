import { isLeft, TidemarkError, toHex } from '@tidemark/model';
import type { Caller, CheckpointFolder, InputLog, InputPosition } from '@tidemark/ports';
import type { CursorState, Mac } from '@tidemark/protocol';
import { encodeInputEntry } from '../fold/input-entry.js';
import type { AppliedStore } from './applied-store.js';
import { awaitApplied, awaitEnd } from './await-applied.js';
import { greatestIncarnation } from './checkpoints.js';
import { doubtOf, placeCursor, type CursorPlace } from './cursor-line.js';
import { isApplied, type FoldDriver } from './fold-driver.js';
import { knownCursor } from './known-cursors.js';
import type { InputWriter } from './input-writer.js';
import type { ServerEvent } from './server-event.js';

/** What shows that a server was put back: a version that it gave once and lacks now. */
export interface LostVersion {
  readonly incarnation: number;
  readonly n: number;
}

/** Watches over cursors: notices when this server was put back to an older copy of itself. */
export interface RewindGuard {
  /**
   * Looks at a cursor before it is answered. One that this server made, and whose history this server does
   * not have, proves a rewind: then a new incarnation begins before this resolves. Text that the key did
   * not make proves nothing. Rejects with `behind` while the input is not folded up to its end.
   */
  readonly check: (text: string | null | undefined, caller: Caller) => Promise<CursorPlace>;
  /** Begins a new incarnation unless `isProved` has become false once everything is folded. */
  readonly rewind: (
    isProved: () => Promise<LostVersion | undefined>,
    by: 'cursor' | 'checkpoint' | 'store',
  ) => Promise<void>;
}

/** What a guard works with. */
export interface RewindGuardOptions {
  readonly applied: AppliedStore;
  readonly input: InputLog;
  readonly writer: InputWriter;
  readonly driver: FoldDriver;
  readonly mac: Mac;
  /** Longest wait for the end of the input, ms. */
  readonly waitMs: number;
  readonly checkpoints: CheckpointFolder | undefined;
  readonly onEvent: (event: ServerEvent) => void;
  /** Called after a new incarnation began. */
  readonly onRewound: () => void;
}

/** Times that the end of a generation is tried while others go on to append. */
const beginTriesMax = 20;

interface BegunIncarnation {
  readonly first: InputPosition;
  readonly incarnation: number;
  readonly n: number;
  readonly lost: LostVersion;
}

const isPlainlyOn = (applied: AppliedStore, { incarnation, seen }: CursorState): boolean => {
  const state = applied.applied();
  const newest = seen?.lives[0]?.[0];
  return (
    incarnation === state.incarnation &&
    newest !== undefined &&
    newest === state.lives[0]?.id &&
    (seen?.n ?? 0) <= state.n
  );
};

/** Builds a guard. */
export const createRewindGuard = (options: RewindGuardOptions): RewindGuard => {
  const { applied, input, writer, driver, mac, waitMs, checkpoints, onEvent, onRewound } = options;

  const place = (cursor: CursorState): Promise<CursorPlace> =>
    applied.alone(() => placeCursor(applied.store, applied.applied(), cursor));

  const wait = { input, applied, driver };

  /** Ends the generation where this server stands; what others append meanwhile is folded first. */
  const begin = async (
    isProved: () => Promise<LostVersion | undefined>,
  ): Promise<BegunIncarnation | undefined> => {
    for (let tried = 1; ; tried += 1) {
      // Before the end is looked for: others append meanwhile.
      const given = await greatestIncarnation(checkpoints);
      await awaitEnd(wait);
      const lost = await isProved();
      if (lost === undefined) return undefined;
      const state = applied.applied();
      const { generation, seq: last } = state.position;
      const hash = last === 0 ? undefined : await input.hashAt(state.position);
      const incarnation = Math.max(state.incarnation, lost.incarnation, given) + 1;
      const message = encodeInputEntry({
        kind: 'incarnation',
        incarnation,
        position: state.position,
        digest: state.digest,
        checkpoint: null,
        lastGood: { generation, seq: last, hash: hash === undefined ? '' : toHex(hash) },
      });
      try {
        // Refused unless the input ends exactly where this state stands.
        const first = await input.startGeneration({ generation, last }, message);
        return { first, incarnation, n: state.n, lost };
      } catch (cause) {
        const isBehind = cause instanceof TidemarkError && cause.code === 'behind';
        if (!isBehind || tried >= beginTriesMax) throw cause;
      }
    }
  };

  const rewind: RewindGuard['rewind'] = (isProved, by) =>
    // Nothing may enter the old generation between its last message and the first of the next one.
    writer.alone(async () => {
      const begun = await begin(isProved);
      // Another request, or another server, may have begun the incarnation meanwhile.
      if (begun === undefined) return;
      const { first, incarnation, n, lost } = begun;
      if (!(await awaitApplied(wait, first)))
        throw new TidemarkError('input-mismatch', 'the input lost the incarnation that was begun', {
          incarnation,
        });
      onEvent({ type: 'rewound', incarnation, n, shown: lost, by });
      onRewound();
    });

  return {
    rewind,
    check: async (text, caller) => {
      if (text === null || text === undefined) return 'unknown';
      const decoded = knownCursor(text, mac);
      // What a user's replica holds may have come from a copy of its folder, under another replica id.
      if (isLeft(decoded) || decoded.right.user !== caller.user) return 'unknown';
      const cursor = decoded.right;
      if (isPlainlyOn(applied, cursor)) return 'on';
      const first = await place(cursor);
      if (first !== 'beyond') return first;
      // Perhaps the input has it, and this server has not folded it yet.
      const { generation, last } = await input.extent();
      driver.nudge();
      const isThere = (): boolean => isApplied(applied.applied(), { generation, seq: last });
      if (!(await driver.within(waitMs, isThere)))
        throw new TidemarkError('behind', 'the server is older than what the replica has seen', {
          incarnation: applied.applied().incarnation,
          n: applied.applied().n,
        });
      await rewind(async () => {
        if ((await place(cursor)) !== 'beyond') return undefined;
        const n = cursor.seen?.n ?? cursor.to;
        return { incarnation: cursor.incarnation, n };
      }, 'cursor');
      return place(cursor);
    },
  };
};

/** Doubts about the image that was read under a cursor; undefined when there are none or it proves nothing. */
export const doubtsAbout = async (
  applied: AppliedStore,
  mac: Mac,
  caller: Caller,
  image: string | null | undefined,
): Promise<CursorState['doubt']> => {
  if (image === null || image === undefined) return undefined;
  const decoded = knownCursor(image, mac);
  if (isLeft(decoded) || decoded.right.user !== caller.user) return undefined;
  return applied.alone(() => doubtOf(applied.store, applied.applied(), decoded.right));
};
