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
  InputPosition,
  ServerStore,
} from '@tidemark/ports';
import {
  continuesFrom,
  isReachable,
  isBeyondEnd,
  nextGeneration,
  nextIncarnation,
} from './announced-incarnation.js';
import { customizationId } from './decide-entry.js';
import { decodeFoldState, emptyFoldState, encodeFoldState, type FoldState } from './fold-state.js';
import { decodeMessageEntry, type DecodedMessage } from './decoded-message.js';
import { decideWindow, schemaOf, windowLength, type ContextOf } from './fold-window.js';
import { InputMemory } from './input-memory.js';
import { mergeRecord } from './stored-record.js';
import type { ValidateHook } from './validate-hook.js';
import { readAhead, type WindowAhead } from './window-ahead.js';
import { Window, type FoldContext, type QuarantinedMessage } from './window.js';

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
  readonly crypto: Pick<Crypto, 'sha256' | 'ed25519'>;
  /** Loaded when the customization has its first text field. */
  readonly crdt: () => Promise<FieldCrdt>;
  /** Refuses transactions of devices; see `ValidateHook`. */
  readonly validate?: ValidateHook;
  /** Keeps what is folded, and remembers its hashes: input that several servers follow may lose it. */
  readonly keepInput?: boolean;
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
  /** Messages that were not what they claim; the first `quarantinedToldMax`. */
  readonly quarantined: readonly QuarantinedMessage[];
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
  /** Rejects with `input-mismatch` where the input does not hold any more what the state was folded from. */
  readonly check: () => Promise<void>;
  /** Forgets kept input at or before a position. */
  readonly forgetInput: (upTo: InputPosition) => Promise<void>;
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
  append: missing,
  settle: missing,
  textDifference: missing,
  reexpress: missing,
};

/** Opens the fold of a store. Rejects with `wrong-tenant`, `newer-format`. */
export const openFold = async (options: FoldOptions): Promise<Fold> => {
  const bytes = await options.store.readState();
  const state = bytes === undefined ? emptyFoldState(options.tenant) : decodeFoldState(bytes);
  if (state.tenant !== options.tenant)
    throw new TidemarkError('wrong-tenant', 'the store belongs to another tenant');
  let customization = emptyCustomization;
  if (state.customizationVersion > 0) {
    const id = customizationId(state.customizationVersion);
    const [stored] = await options.store.getRecords(customizationsTable, [id]);
    invariant(stored !== undefined, 'the customization in force is stored');
    const json = JSON.parse(mergeRecord(stored).row.fields[2] as string) as unknown;
    const decoded = decodeCustomization(json);
    invariant(decoded._tag === 'Right', 'the customization in force is valid');
    customization = decoded.right;
  }
  const contextOf: ContextOf = async (next) => {
    const hasText = next.tables.some((table) => table.fields.some((one) => one.type === 'text'));
    return {
      tenant: options.tenant,
      hash: options.crypto.sha256,
      verify: options.crypto.ed25519.verify,
      crdt: hasText ? await options.crdt() : noCrdt,
      schema: schemaOf(next),
      hasText,
      validate: options.validate,
    };
  };
  const memory =
    options.keepInput === true
      ? await InputMemory.open(options.store, options.crypto.sha256)
      : undefined;
  return new InputFold(options, state, await contextOf(customization), contextOf, memory);
};

class InputFold implements Fold {
  readonly #options: FoldOptions;
  readonly #bounds: WindowBounds;
  readonly #contextOf: ContextOf;
  readonly #listeners = new Set<(window: AppliedWindow) => void>();
  readonly #memory: InputMemory | undefined;
  #state: FoldState;
  #context: FoldContext;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    options: FoldOptions,
    state: FoldState,
    context: FoldContext,
    contextOf: ContextOf,
    memory: InputMemory | undefined,
  ) {
    this.#options = options;
    this.#bounds = { ...defaultBounds, ...options.window };
    this.#state = state;
    this.#context = context;
    this.#contextOf = contextOf;
    this.#memory = memory;
  }

  readonly state = (): FoldState => this.#state;

  readonly schema = (): Schema => this.#context.schema;

  readonly onApplied = (callback: (window: AppliedWindow) => void): (() => void) => {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  };

  readonly forgetInput = async (upTo: InputPosition): Promise<void> => {
    await this.#memory?.forget(upTo);
  };

  readonly check = (): Promise<void> => {
    // In the queue: a window that is applied between two looks would make a whole input look cut.
    const run = this.#queue.then(() =>
      this.#witness(async () => {
        await this.#checkInput(await this.#options.input.extent());
      }),
    );
    this.#queue = run.catch(() => undefined);
    return run;
  };

  readonly advance: Fold['advance'] = (options) => {
    const run = this.#queue.then(() => this.#witness(() => this.#foldAll(options?.signal)));
    // A failed call must not fail the calls that wait behind it.
    this.#queue = run.catch(() => undefined);
    return run;
  };

  /** What was folded is perhaps the only witness of what the input has lost: seen so, it is made to outlive the power. */
  async #witness<A>(work: () => Promise<A>): Promise<A> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof TidemarkError && cause.code === 'input-mismatch')
        await this.#options.store.sync().catch(() => undefined);
      throw cause;
    }
  }

  async #foldAll(signal: AbortSignalLike | undefined): Promise<FoldState> {
    const extent = await this.#options.input.extent();
    let from = await this.#checkInput(extent);
    let ahead: DecodedMessage[] = [];
    let early: WindowAhead | undefined;
    const isBehind = (): boolean => {
      const { generation, seq } = this.#state.position;
      return generation < extent.generation || seq < extent.last;
    };
    while (isBehind() && signal?.aborted !== true) {
      if (ahead.length === 0) {
        const { bytesMax: maxBytes, messagesMax: maxMessages } = this.#bounds;
        const read = { maxBytes, maxMessages };
        const messages = await this.#guarded(() => this.#options.input.read(from, read));
        if (messages.length === 0) break;
        ahead = decodeAhead(messages);
      }
      const length = windowLength(ahead, this.#bounds);
      const messages = ahead.slice(0, length);
      ahead = ahead.slice(length);
      const next = ahead.slice(0, ahead.length === 0 ? 0 : windowLength(ahead, this.#bounds));
      early = await this.#foldWindow(messages, early, next);
      from = this.#state.position;
    }
    return this.#state;
  }

  #checkInput(extent: InputExtent): Promise<InputPosition> {
    return this.#guarded(() => checkInput(this.#options.input, extent, this.#state));
  }

  async #guarded<A>(work: () => Promise<A>): Promise<A> {
    try {
      return await work();
    } catch (cause) {
      const isGap = cause instanceof TidemarkError && cause.code === 'storage-damaged';
      if (!isGap || this.#memory === undefined) throw cause;
      // Others cut this input, perhaps before it was folded here: opening finds out how to go on.
      throw new TidemarkError(
        'input-mismatch',
        `the input does not fit the store: ${cause.message}`,
        { ...cause.details, reason: 'gap' },
        cause,
      );
    }
  }

  /** Folds a window; meanwhile reads ahead for the `next` one, if there is any. */
  async #foldWindow(
    messages: readonly DecodedMessage[],
    early: WindowAhead | undefined,
    next: readonly DecodedMessage[],
  ): Promise<WindowAhead | undefined> {
    const { store, crypto } = this.#options;
    const window = new Window(store, this.#state, this.#context, early?.records);
    await decideWindow(window, this.#state, messages, this.#contextOf, early);
    const last = (messages[messages.length - 1] as DecodedMessage).message;
    const state: FoldState = {
      ...this.#state,
      incarnation: window.incarnation,
      n: window.n,
      position: last.position,
      now: window.now,
      digest: window.digest,
      customizationVersion: window.customizationVersion,
      lastHash: toHex(last.hash ?? crypto.sha256(last.bytes)),
      counts: { ...window.counts },
      lives: window.lives,
      needsIdentities: window.needsIdentities,
    };
    const kept = await this.#memory?.take(
      messages.map(({ message }) => message),
      this.#state.counts.messages,
    );
    const committed = store.commit(
      {
        state: encodeFoldState(state),
        records: window.overlay.records.drain(),
        prune: [],
        feed: window.feed(),
        ledger: window.ledger(),
        entries: [...window.overlay.entries(), ...(kept?.entries ?? [])],
      },
      'os',
    );
    // What cannot be read early is read in its turn, and fails there.
    const ahead =
      next.length === 0
        ? undefined
        : readAhead(store, window, next, crypto.sha256).catch(() => undefined);
    try {
      await committed;
    } catch (cause) {
      await ahead;
      throw cause;
    }
    kept?.done();
    this.#state = state;
    this.#context = window.context;
    const applied: AppliedWindow = {
      state,
      messages: messages.length,
      operations: window.operations,
      tables: window.tables(),
      replicas: [...window.moved],
      quarantined: window.quarantined,
    };
    for (const listener of this.#listeners) listener(applied);
    return ahead;
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

/**
 * Checks that the input still holds what the store has folded, and all that follows it. Resolves with the
 * position after which the fold goes on.
 */
const checkInput = async (
  input: InputLog,
  extent: InputExtent,
  state: FoldState,
): Promise<InputPosition> => {
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
  if (generation < extent.generation) {
    const begun = await nextIncarnation(input, state);
    if (begun !== undefined && continuesFrom(begun, state)) return nextGeneration(state);
    // What is left of this generation leads to nowhere.
    if (begun !== undefined && !isReachable(begun, state)) fail('incarnation');
  }
  const hash = seq === 0 ? undefined : await input.hashAt(state.position);
  if (hash !== undefined && toHex(hash) !== state.lastHash) fail('different');
  if (hash !== undefined || seq === 0) return state.position;
  if (generation < extent.generation && (await isBeyondEnd(input, state))) fail('rewound');
  // The message itself was trimmed: what follows it must be there, without a gap.
  const next = generation === extent.generation ? seq + 1 : 1;
  if (extent.first > next) fail('trimmed');
  return state.position;
};
