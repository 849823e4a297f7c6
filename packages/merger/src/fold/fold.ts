import type { MergeCrdt } from '@tidemark/merge';
import {
  customizationsTable,
  decodeCustomization,
  invariant,
  InvariantViolation,
  TidemarkError,
  toHex,
  type Customization,
  type Schema,
  type TableId,
} from '@tidemark/model';
import type {
  AbortSignalLike,
  Crypto,
  FieldCrdt,
  InputExtent,
  InputLog,
  InputMessage,
  ServerStore,
} from '@tidemark/ports';
import { isAnnounced } from './announced-incarnation.js';
import { customizationId } from './decide-entry.js';
import { decodeFoldState, emptyFoldState, encodeFoldState, type FoldState } from './fold-state.js';
import {
  decideWindow,
  decodeMessageEntry,
  schemaOf,
  windowLength,
  type ContextOf,
  type DecodedMessage,
} from './fold-window.js';
import { mergeRecord } from './stored-record.js';
import type { ValidateHook } from './validate-hook.js';
import { Window, type FoldContext } from './window.js';

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

const defaultBounds: WindowBounds = {
  bytesMax: 4 * 1024 * 1024,
  operationsMax: 4_096,
  messagesMax: 1_000,
};

/** Customization of a tenant that has published none. */
export const emptyCustomization: Customization = { format: 1, version: 0, tables: [] };

const missing = (): never => {
  throw new InvariantViolation('a customization without text fields needs no CRDT');
};

const noCrdt: MergeCrdt = {
  genesis: missing,
  read: missing,
  heads: missing,
  compact: missing,
  editText: missing,
  apply: missing,
  textDifference: missing,
  reexpress: missing,
};

/** Customization in force in a store. */
const readCustomization = async (
  store: ServerStore,
  { customizationVersion }: FoldState,
): Promise<Customization> => {
  if (customizationVersion === 0) return emptyCustomization;
  const [stored] = await store.getRecords(customizationsTable, [
    customizationId(customizationVersion),
  ]);
  invariant(stored !== undefined, 'the customization in force is stored');
  const json = JSON.parse(mergeRecord(stored).row.fields[2] as string) as unknown;
  const decoded = decodeCustomization(json);
  invariant(decoded._tag === 'Right', 'the customization in force is valid');
  return decoded.right;
};

/** Opens the fold of a store. Rejects with `wrong-tenant`, `newer-format`. */
export const openFold = async (options: FoldOptions): Promise<Fold> => {
  const bytes = await options.store.readState();
  const state = bytes === undefined ? emptyFoldState(options.tenant) : decodeFoldState(bytes);
  if (state.tenant !== options.tenant)
    throw new TidemarkError('wrong-tenant', 'the store belongs to another tenant');
  const customization = await readCustomization(options.store, state);
  const contextOf: ContextOf = async (next) => {
    const hasText = next.tables.some((table) => table.fields.some((one) => one.type === 'text'));
    return {
      tenant: options.tenant,
      hash: options.crypto.sha256,
      crdt: hasText ? await options.crdt() : noCrdt,
      schema: schemaOf(next),
      hasText,
      validate: options.validate,
    };
  };
  return new InputFold(options, state, await contextOf(customization), contextOf);
};

class InputFold implements Fold {
  readonly #options: FoldOptions;
  readonly #bounds: WindowBounds;
  readonly #contextOf: ContextOf;
  readonly #listeners = new Set<(window: AppliedWindow) => void>();
  #state: FoldState;
  #context: FoldContext;
  #queue: Promise<unknown> = Promise.resolve();
  /** A commit failed: whether the store holds it is known only when it was opened again. */
  #isInDoubt = false;

  constructor(options: FoldOptions, state: FoldState, context: FoldContext, contextOf: ContextOf) {
    this.#options = options;
    this.#bounds = { ...defaultBounds, ...options.window };
    this.#state = state;
    this.#context = context;
    this.#contextOf = contextOf;
  }

  readonly state = (): FoldState => this.#state;

  readonly schema = (): Schema => this.#context.schema;

  readonly onApplied = (callback: (window: AppliedWindow) => void): (() => void) => {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  };

  readonly advance: Fold['advance'] = (options) => {
    const run = this.#queue.then(() => this.#foldAll(options?.signal));
    // A failed call must not fail the calls that wait behind it.
    this.#queue = run.catch(() => undefined);
    return run;
  };

  async #foldAll(signal: AbortSignalLike | undefined): Promise<FoldState> {
    if (this.#isInDoubt) await this.#findOut();
    const extent = await this.#options.input.extent();
    await checkInput(this.#options.input, extent, this.#state);
    let ahead: DecodedMessage[] = [];
    const isBehind = (): boolean => {
      const { generation, seq } = this.#state.position;
      return generation < extent.generation || seq < extent.last;
    };
    while (isBehind() && signal?.aborted !== true) {
      if (ahead.length === 0) {
        const { bytesMax: maxBytes, messagesMax: maxMessages } = this.#bounds;
        const read = { maxBytes, maxMessages };
        const messages = await this.#options.input.read(this.#state.position, read);
        if (messages.length === 0) break;
        ahead = decodeAhead(messages);
      }
      const length = windowLength(ahead, this.#bounds);
      await this.#foldWindow(ahead.slice(0, length));
      ahead = ahead.slice(length);
    }
    return this.#state;
  }

  /** Goes on from what the store holds: a window that was applied after all must not be folded twice. */
  async #findOut(): Promise<void> {
    const { store, tenant } = this.#options;
    // A write opens a database again whose last write failed; before, reads may miss that one.
    await store.sync();
    const bytes = await store.readState();
    const state = bytes === undefined ? emptyFoldState(tenant) : decodeFoldState(bytes);
    const context = await this.#contextOf(await readCustomization(store, state));
    this.#isInDoubt = false;
    if (state.counts.messages === this.#state.counts.messages) return;
    this.#state = state;
    this.#context = context;
    const applied = { state, messages: 0, operations: 0, tables: [], replicas: [] };
    for (const listener of this.#listeners) listener(applied);
  }

  async #foldWindow(messages: readonly DecodedMessage[]): Promise<void> {
    const { store, crypto } = this.#options;
    const window = new Window(store, this.#state, this.#context);
    await decideWindow(window, this.#state, messages, this.#contextOf);
    const last = (messages[messages.length - 1] as DecodedMessage).message;
    const state: FoldState = {
      ...this.#state,
      incarnation: window.incarnation,
      n: window.n,
      position: last.position,
      now: window.now,
      digest: window.digest,
      customizationVersion: window.customizationVersion,
      lastHash: toHex(crypto.sha256(last.bytes)),
      counts: { ...window.counts },
      lives: window.lives,
    };
    this.#isInDoubt = true;
    await store.commit(
      {
        state: encodeFoldState(state),
        records: window.overlay.records.drain(),
        prune: [],
        feed: window.feed(),
        ledger: window.ledger(),
        entries: window.overlay.entries(),
      },
      'os',
    );
    this.#isInDoubt = false;
    this.#state = state;
    this.#context = window.context;
    const applied: AppliedWindow = {
      state,
      messages: messages.length,
      operations: window.operations,
      tables: window.tables(),
      replicas: [...window.moved],
    };
    for (const listener of this.#listeners) listener(applied);
  }
}

/** Decodes messages as far as this version can read them. Throws `newer-format` when that is not even one. */
const decodeAhead = (messages: readonly InputMessage[]): DecodedMessage[] => {
  const decoded: DecodedMessage[] = [];
  for (const message of messages) {
    const one = decodeMessageEntry(message);
    if (one !== undefined) decoded.push(one);
    else if (decoded.length > 0) break;
    else
      throw new TidemarkError('newer-format', 'the input holds an entry of a newer version', {
        ...message.position,
      });
  }
  return decoded;
};

/** Checks that the input still holds what the store has folded, and all that follows it. */
const checkInput = async (
  input: InputLog,
  extent: InputExtent,
  state: FoldState,
): Promise<void> => {
  const { generation, seq } = state.position;
  const fail = (reason: string): never => {
    const details = { reason, generation, seq };
    throw new TidemarkError(
      'input-mismatch',
      `the input does not fit the store: ${reason}`,
      details,
    );
  };
  if (generation > extent.generation) fail('rewound');
  if (generation === extent.generation && seq > extent.last) fail('rewound');
  if (generation < extent.generation && (await isAnnounced(input, state))) return;
  const hash = seq === 0 ? undefined : await input.hashAt(state.position);
  if (hash !== undefined && toHex(hash) !== state.lastHash) fail('different');
  if (hash !== undefined || seq === 0) return;
  // The message itself was trimmed: what follows it must be there, without a gap.
  const next = generation === extent.generation ? seq + 1 : 1;
  if (extent.first > next) fail('trimmed');
};
