import type {
  CheckpointFolder,
  Clock,
  Compression,
  Crypto,
  Entropy,
  FieldCrdt,
  InputLog,
  Logger,
  ServerStore,
  Timer,
} from '@tidemark/ports';
import type { Protocols } from '@tidemark/protocol';
import type { WindowBounds } from '../fold/fold.js';
import type { ValidateHook } from '../fold/validate-hook.js';
import type { Fellows } from './fellows.js';
import type { HorizonLimits } from './feed-horizon.js';
import type { AuthenticateHook } from './enroll.js';
import type { PreparedLimits } from './prepared-cache.js';
import type { ScratchStore } from './refold.js';
import type { ServerEvent } from './server-event.js';

/** Everything that a merger works with. */
export interface MergerOptions {
  readonly tenant: string;
  readonly store: ServerStore;
  readonly input: InputLog;
  readonly crypto: Crypto;
  /** Packs pages for replicas that ask for that; left out, they travel as they are. */
  readonly compression?: Compression;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly entropy: Entropy;
  readonly crdt: () => Promise<FieldCrdt>;
  /**
   * Key of 32 bytes that authenticates cursors: random, per tenant, alike on all servers of a tenant, kept
   * outside of the store. With another key all cursors are `invalid-cursor`, and replicas repair.
   */
  readonly cursorKey: Uint8Array;
  readonly validate?: ValidateHook;
  /** Says whom a token stands for that is none of the one-time tokens. */
  readonly authenticate?: AuthenticateHook;
  readonly checkpoints?: {
    readonly folder: CheckpointFolder;
    /** Newest ones to keep; `checkpointsKeptDefault` when absent. */
    readonly keep?: number;
    /** Writes one after so many operations; never by itself when absent. */
    readonly everyOps?: number;
    /** Drops input that the oldest kept checkpoint contains. False when absent. */
    readonly trimInput?: boolean;
  };
  /**
   * Stores and input have been open since an earlier merger of this process opened on them: what their
   * opening found damaged was mended then, and is neither told nor mended again.
   */
  readonly isReopened?: boolean;
  /** `refuse` rejects with `input-mismatch` where a new incarnation would begin: for one that only looks. */
  readonly newIncarnation?: 'refuse';
  /** The other servers that fold the same input; left out where there can be none. */
  readonly fellows?: Fellows;
  /** Opens an empty store for a while, in which the input is folded again when servers differ. */
  readonly scratch?: () => Promise<ScratchStore>;
  /** Versions of the protocol that devices may speak; this program's own and the one before when left out. */
  readonly protocols?: Protocols;
  readonly horizon?: Partial<HorizonLimits>;
  /** How tables are prepared for first fills; `preparedDefault` where absent. */
  readonly prepared?: Partial<PreparedLimits>;
  readonly window?: Partial<WindowBounds>;
  readonly logger?: Logger;
  readonly onEvent?: (event: ServerEvent) => void;
}
