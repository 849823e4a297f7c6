import {
  decodeInputEntry,
  encodeInputEntry,
  openFold,
  type FoldState,
  type WindowBounds,
} from '@tidemark/merger';
import {
  decodeEnvelope,
  encodeEnvelope,
  nextHead,
  openTransaction,
  type Envelope,
} from '@tidemark/model';
import type { InputLog, InputMessage, ServerStore } from '@tidemark/ports';
import { openInputLog, openServerStore } from '@tidemark/store-level';
import { expectEqual, type CheckedWorld } from './checks.js';
import { crdt, crypto, memoryDatabase, memoryMarker } from './memory-parts.js';
import type { SeededRandom } from './seeded-random.js';
import { storedRecords, tenant } from './world.js';

interface Timed {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

const tables = [1, 2, 3, 4, 5, 6, 7, 60_001, 60_002, 60_003];

/** Everything that a store says, as text: rows with versions, documents left out (they count by digest). */
export const contentOf = async (store: ServerStore): Promise<string> => {
  const parts: unknown[] = [];
  for (const table of tables)
    for (const { id, row, deleted } of await storedRecords(store, table))
      parts.push([table, id, deleted, { ...row, docs: Object.keys(row.docs) }]);
  return JSON.stringify(parts);
};

/** A copy of the input with the same times on a server of its own, folded up to `upTo` messages. */
export class Refold {
  readonly store: ServerStore;
  readonly #messages: readonly Timed[];
  readonly #clock = { now: 0 };
  readonly #window: Partial<WindowBounds>;

  constructor(store: ServerStore, messages: readonly Timed[], window: Partial<WindowBounds>) {
    this.store = store;
    this.#messages = messages;
    this.#window = window;
  }

  static async open(messages: readonly Timed[], window: Partial<WindowBounds>): Promise<Refold> {
    const store = await openServerStore({
      database: memoryDatabase(),
      marker: memoryMarker(),
      hash: crypto.sha256,
    });
    return new Refold(store, messages, window);
  }

  async fold(upTo: number = this.#messages.length): Promise<FoldState> {
    const input = await openInputLog({
      database: memoryDatabase(),
      marker: memoryMarker(),
      hash: crypto.sha256,
      clock: { nowMs: () => this.#clock.now },
    });
    for (const { atMs, bytes } of this.#messages.slice(0, upTo)) {
      this.#clock.now = atMs;
      await input.append([bytes]);
    }
    // A stream's clock may go backwards, which a log of one server evens out: each message keeps the time that it had.
    const timed: InputLog = {
      ...input,
      read: async (after, bounds) =>
        (await input.read(after, bounds)).map((message) => ({
          ...message,
          atMs: this.#messages[message.position.seq - 1]?.atMs ?? message.atMs,
        })),
    };
    const { store } = this;
    const fold = await openFold({
      tenant,
      store,
      input: timed,
      crypto,
      crdt,
      window: this.#window,
    });
    const state = await fold.advance();
    await input.close();
    return state;
  }
}

const randomWindow = (random: SeededRandom): Partial<WindowBounds> => ({
  operationsMax: random.pick([1, 2, 5, 4_096]),
  messagesMax: random.pick([1, 2, 3, 7, 1_000]),
});

/** Law: the same input, in other windows, on another server, gives the same digest and content. */
export const checkOtherWindows = async (
  world: CheckedWorld,
  messages: readonly InputMessage[],
  random: SeededRandom,
): Promise<void> => {
  const refold = await Refold.open(messages, randomWindow(random));
  const { digest, n, counts } = await refold.fold();
  const state = world.merger.state();
  const of = (one: Pick<FoldState, 'digest' | 'n' | 'counts'>) => [one.n, one.digest, one.counts];
  expectEqual('folded in other windows', of({ digest, n, counts }), of(state));
  expectEqual(
    'content of other windows',
    await contentOf(refold.store),
    await contentOf(world.store),
  );
};

/** Law: fold(a ++ b) = fold(fold(a), b), the middle taken through a checkpoint into another store. */
export const checkCheckpoint = async (
  world: CheckedWorld,
  messages: readonly InputMessage[],
  random: SeededRandom,
): Promise<void> => {
  const first = await Refold.open(messages, randomWindow(random));
  await first.fold(random.below(messages.length + 1));
  const second = await Refold.open(messages, randomWindow(random));
  await second.store.load(first.store.dump());
  const { digest, n } = await second.fold();
  const state = world.merger.state();
  expectEqual('folded from a checkpoint', [n, digest], [state.n, state.digest]);
  expectEqual(
    'content from a checkpoint',
    await contentOf(second.store),
    await contentOf(world.store),
  );
};

/** Part of an envelope: transactions `from` to `to` of it, with the heads at both ends. */
const repack = (envelope: Envelope, from: number, to: number): Envelope => {
  let head = envelope.headBefore;
  let index = envelope.from;
  let headBefore = head;
  let first = index;
  envelope.transactions.slice(0, to).forEach((bytes, at) => {
    if (at === from) {
      headBefore = head;
      first = index;
    }
    const opened = openTransaction(bytes, crypto.sha256);
    if (opened._tag === 'Left') throw new Error('the envelope holds a broken transaction');
    head = nextHead(head, opened.right, crypto.sha256);
    index += opened.right.opCount;
  });
  const transactions = envelope.transactions.slice(from, to);
  return { ...envelope, from: first, to: index - 1, headBefore, headAfter: head, transactions };
};

/** Law: envelopes that were merged are no-ops when they are offered again, however packed. */
export const checkDuplicates = async (
  world: CheckedWorld,
  messages: readonly InputMessage[],
  random: SeededRandom,
): Promise<void> => {
  const more: Timed[] = [];
  const sent: {
    readonly caller: { tenant: string; replica: string; user: string };
    readonly envelope: Envelope;
  }[] = [];
  for (const { atMs, bytes } of messages) {
    more.push({ atMs, bytes });
    const entry = decodeInputEntry(bytes);
    if (entry._tag === 'Right' && entry.right.kind === 'envelope') {
      const decoded = decodeEnvelope(entry.right.envelope);
      if (decoded._tag === 'Right')
        sent.push({ caller: { ...entry.right.caller }, envelope: decoded.right });
    }
    if (sent.length === 0 || !random.chance(40)) continue;
    const { caller, envelope } = random.pick(sent);
    const count = envelope.transactions.length;
    const from = random.below(count);
    const again = repack(envelope, from, from + 1 + random.below(count - from));
    more.push({
      atMs,
      bytes: encodeInputEntry({ kind: 'envelope', caller, envelope: encodeEnvelope(again) }),
    });
  }
  const refold = await Refold.open(more, randomWindow(random));
  const { digest, n, counts } = await refold.fold();
  const state = world.merger.state();
  expectEqual(
    'folded with duplicates',
    [n, digest, counts.operations, counts.quarantined],
    [state.n, state.digest, state.counts.operations, state.counts.quarantined],
  );
};
