import type { Schema, TableId } from '@tidemark/model';
import type { AbortSignalLike, Crypto, FieldCrdt, InputLog, ServerStore } from '@tidemark/ports';
import type { FoldState } from './fold-state.js';
import type { ValidateHook } from './validate.js';

/** Bounds of a window. A window holds at least one message whatever its size. */
export interface WindowBounds {
  readonly bytesMax: number;
  readonly operationsMax: number;
  readonly messagesMax: number;
}

/** Everything that the fold works with. */
export interface FoldOptions {
  readonly tenant: string;
  readonly store: ServerStore;
  readonly input: InputLog;
  readonly crypto: Pick<Crypto, 'sha256'>;
  /** Loaded when the customization has its first text field. */
  readonly crdt: () => Promise<FieldCrdt>;
  /** Refuses transactions of devices; see `ValidateHook`. */
  readonly validate?: ValidateHook;
  /** Adapts within these bounds; results do not depend on them. */
  readonly window?: Partial<WindowBounds>;
}

/** One window that has been applied. */
export interface AppliedWindow {
  readonly state: FoldState;
  readonly messages: number;
  readonly operations: number;
  /** Tables whose feed grew. */
  readonly tables: readonly TableId[];
  /** Replicas whose position or epoch moved. */
  readonly replicas: readonly string[];
}

/**
 * Fold of the input log into the server store. Nothing above its position is readable.
 *
 * A failure (`storage-unavailable`, `input-mismatch`, `hook-failed`, `upgrade`...) leaves the store at the
 * last applied window; calling `advance` again continues from there.
 */
export interface Fold {
  /** State of the last applied window. */
  readonly state: () => FoldState;
  /** Schema in force at `state().n`: the customization with the system tables. */
  readonly schema: () => Schema;
  /** Folds everything that the input holds when it is called. Calls queue; each resolves when its part is applied. */
  readonly advance: (options?: { readonly signal?: AbortSignalLike }) => Promise<FoldState>;
  /** Calls back after each applied window, before `advance` goes on. Returns the way to stop. */
  readonly onApplied: (callback: (window: AppliedWindow) => void) => () => void;
}
