import { TidemarkError, type Hash } from '@tidemark/model';
import type {
  AppendOutcome,
  Clock,
  InputExtent,
  InputLog,
  InputMessage,
  InputPosition,
  Marker,
  StoreDamage,
} from '@tidemark/ports';
import { del, put, type Database, type DatabaseOperation } from './database.js';
import { GroupWriter } from './group-writer.js';
import { inputDamage } from './input-damage.js';
import {
  comparePositions,
  decodeMessage,
  encodeEnd,
  encodeMessage,
  encodePosition,
  encodeSeal,
  endKey,
  messageKey,
  sealKey,
  trimmedKey,
  type InputEnd,
} from './input-keys.js';
import { readMessages } from './input-read.js';
import { findInputHoles, firstKept, readInputState, type InputState } from './input-state.js';
import { openDatabase } from './open-database.js';
import type { RingState } from './ordinal-ring.js';
import { openMarker, type OpenMarker } from './server-marker.js';
import { guardedRead, type ReadGuard } from './server-reads.js';
import { guarded } from './storage-error.js';
import type { StoreMarker } from './store-marker.js';

/** Newest format of an input log that this version reads and writes. */
export const inputLogFormat = 1;
/** Bytes that may wait to be appended; more are refused, so that a stuck disk does not fill memory. */
export const appendBytesWaitingMax = 256 * 1024 * 1024;
/** Keys removed by one batch of a trim. */
const trimStep = 1_000;
/** Appends after which the marker learns the newest ordinal, to tell a lost tail. */
const appendsPerMark = 1_000;

/** What an input log is opened on. */
export interface InputLogOptions {
  /** Database with `view` encodings of keys and values. */
  readonly database: Database;
  /** Small record beside the database that outlives its loss. */
  readonly marker: Marker;
  readonly hash: Hash;
  readonly clock: Clock;
}

/**
 * Opens the input log of a database; an empty database becomes a new log, whose generation is 1.
 *
 * Missing messages of the current generation are told in `damage` with range and count, at every open
 * until the next generation starts. Rejects with `store-missing`, `storage-damaged`, `newer-format`,
 * `folder-in-use`, `storage-unavailable`.
 */
export const openInputLog = (options: InputLogOptions): Promise<InputLog> =>
  guarded(async () => {
    const { database, hash, clock } = options;
    const marker = await openMarker(options.marker, hash);
    const opened = await openDatabase({
      database,
      kind: 'input',
      format: inputLogFormat,
      expectedId: marker.expectedId,
    });
    return createInputLog({ ...opened, marker, hash, clock, damage: [], repaired: false });
  });

/** Parts of an input log whose database is open. */
export interface OpenedInputLog {
  readonly database: Database;
  readonly marker: OpenMarker;
  readonly hash: Hash;
  readonly clock: Clock;
  readonly storeId: Uint8Array;
  readonly ring: RingState;
  /** Damage found while the database was opened. */
  readonly damage: readonly StoreDamage[];
  /** A repair may have lost any message: all are looked at. */
  readonly repaired: boolean;
}

/** Builds the input log of an open database. */
export const createInputLog = async (parts: OpenedInputLog): Promise<InputLog> => {
  const { database, marker, ring } = parts;
  const state = await readInputState(database);
  const suspect = parts.repaired || ring.lostCount > 0;
  const holes = await findInputHoles(database, state, suspect);
  const damage = [...parts.damage, ...inputDamage(state.end, holes, ring, marker.ordinal)];
  const writer: GroupWriter = new GroupWriter({
    database,
    ring,
    ordinalAtLeast: marker.ordinal,
    onReopened: async () => log.restart(await readInputState(database)),
  });
  const keeper = await marker.attach(parts.storeId, () => writer.durableOrdinal);
  const log: LevelInputLog = new LevelInputLog(parts, { state, damage, writer, keeper });
  return log;
};

/** What an input log works with once its state was read. */
interface InputLogWorks {
  readonly state: InputState;
  readonly damage: readonly StoreDamage[];
  readonly writer: GroupWriter;
  readonly keeper: StoreMarker;
}

class LevelInputLog implements InputLog {
  readonly damage: readonly StoreDamage[];
  readonly #database: Database;
  readonly #hash: Hash;
  readonly #clock: Clock;
  readonly #writer: GroupWriter;
  readonly #keeper: StoreMarker;
  readonly #guard: ReadGuard;
  /** Positions given out so far: `end` runs ahead of what is stored. */
  #state: InputState;
  /** End of what is stored and durable: readers see nothing behind it. */
  #durable: InputEnd;
  #bytesWaiting = 0;
  #appends = 0;

  constructor({ database, hash, clock }: OpenedInputLog, works: InputLogWorks) {
    this.#database = database;
    this.#hash = hash;
    this.#clock = clock;
    this.#writer = works.writer;
    this.#keeper = works.keeper;
    this.#state = works.state;
    this.#durable = works.state.end;
    this.damage = works.damage;
    this.#guard = {
      ready: () => this.#writer.ready(),
      onCorruption: () => this.#keeper.wantRepair(),
    };
  }

  /** Takes the state that was read anew behind a failed write. */
  restart(state: InputState): void {
    this.#state = state;
    this.#durable = state.end;
  }

  readonly append = (messages: readonly Uint8Array[]): Promise<readonly AppendOutcome[]> =>
    guarded(async () => {
      if (messages.length === 0) return [];
      let bytes = 0;
      for (const message of messages) bytes += message.length;
      if (this.#bytesWaiting > 0 && this.#bytesWaiting + bytes > appendBytesWaitingMax)
        throw new TidemarkError('storage-unavailable', 'too many appends are waiting', {
          bytes: this.#bytesWaiting,
        });
      if (this.#writer.broken) await this.#writer.recover();
      // From here to the write in one turn of the event loop: calls keep their order.
      const { generation, seq } = this.#state.end;
      const atMs = this.#timeOfNext();
      const end: InputEnd = { generation, seq: seq + messages.length, atMs };
      const positions: InputPosition[] = [];
      const operations: DatabaseOperation[] = [];
      for (const message of messages) {
        const position = { generation, seq: seq + positions.length + 1 };
        positions.push(position);
        operations.push(put(messageKey(position), encodeMessage(atMs, message)));
      }
      operations.push(put(endKey, encodeEnd(end)));
      this.#bytesWaiting += bytes;
      try {
        await this.#advance({ ...this.#state, end }, operations, false);
      } finally {
        this.#bytesWaiting -= bytes;
      }
      this.#appends += 1;
      // The marker is a second witness only: an append does not wait for it, nor fail with it.
      if (this.#appends % appendsPerMark === 0) this.#keeper.recordOrdinal().catch(() => undefined);
      return positions.map((position) => ({ tag: 'stored', position }));
    });

  readonly startGeneration = (
    expected: Pick<InputExtent, 'generation' | 'last'>,
    first: Uint8Array,
  ): Promise<InputPosition> =>
    guarded(async () => {
      if (this.#writer.broken) await this.#writer.recover();
      const { end, seals } = this.#state;
      const { generation } = end;
      if (generation !== expected.generation || end.seq !== expected.last)
        throw new TidemarkError('behind', 'the input does not end where it was expected', {
          expected: `${expected.generation}/${expected.last}`,
          current: `${generation}/${end.seq}`,
        });
      const position = { generation: generation + 1, seq: 1 };
      const next: InputEnd = { ...position, atMs: this.#timeOfNext() };
      await this.#advance(
        { ...this.#state, end: next, seals: new Map([...seals, [generation, end.seq]]) },
        [
          put(sealKey(generation), encodeSeal(end.seq)),
          put(messageKey(position), encodeMessage(next.atMs, first)),
          put(endKey, encodeEnd(next)),
        ],
        // Whoever starts a generation has seen what the one before lost.
        true,
      );
      return position;
    });

  readonly trim = (position: InputPosition): Promise<void> =>
    guarded(async () => {
      if (this.#writer.broken) await this.#writer.recover();
      const end = this.#durable;
      const wanted = comparePositions(position, end) > 0 ? end : position;
      if (comparePositions(wanted, this.#state.trimmed) <= 0) return;
      const trimmed = { generation: wanted.generation, seq: wanted.seq };
      this.#state = { ...this.#state, trimmed };
      // Durable before the first removal: else a crash would make the removed ones look lost.
      await this.#writer.write([put(trimmedKey, encodePosition(trimmed))], 'disk');
      await this.#removeTo(trimmed);
    });

  readonly read = (
    after: InputPosition,
    bounds: { readonly maxBytes: number; readonly maxMessages: number },
  ): Promise<readonly InputMessage[]> =>
    guardedRead(this.#guard, () =>
      readMessages(this.#database, { ...this.#state, end: this.#durable }, after, bounds),
    );

  readonly extent = (): Promise<InputExtent> => {
    const { generation, seq: last } = this.#durable;
    const first = firstKept({ ...this.#state, end: this.#durable });
    return Promise.resolve({ generation, first, last });
  };

  readonly endOf = (generation: number): Promise<number | undefined> =>
    Promise.resolve(this.#state.seals.get(generation));

  readonly hashAt = (position: InputPosition): Promise<Uint8Array | undefined> =>
    guardedRead(this.#guard, async () => {
      if (position.generation < 1 || position.seq < 1) return undefined;
      // A power cut may bring trimmed messages back: they are gone all the same.
      if (comparePositions(position, this.#state.trimmed) <= 0) return undefined;
      const value = await this.#database.get(messageKey(position));
      return value === undefined ? undefined : this.#hash(decodeMessage(position, value).bytes);
    });

  readonly close = (): Promise<void> =>
    guarded(async () => {
      try {
        await this.#writer.sync();
        await this.#keeper.recordOrdinal();
      } finally {
        await this.#writer.close();
        await this.#database.close();
      }
    });

  /** Message times never go backwards, whatever the clock does. */
  #timeOfNext(): number {
    return Math.max(Math.floor(this.#clock.nowMs()), this.#state.end.atMs);
  }

  /** Gives out positions at once, stores them durably, then shows them to readers. */
  async #advance(
    state: InputState,
    operations: readonly DatabaseOperation[],
    answersLoss: boolean,
  ): Promise<void> {
    this.#state = state;
    await this.#writer.write(operations, 'disk', undefined, answersLoss);
    if (comparePositions(state.end, this.#durable) > 0) this.#durable = state.end;
  }

  async #removeTo(trimmed: InputPosition): Promise<void> {
    for (;;) {
      const keys = this.#database.keys({
        gte: messageKey({ generation: 0, seq: 0 }),
        lte: messageKey(trimmed),
        limit: trimStep,
      });
      const doomed = (await keys.all()).map(del);
      if (doomed.length === 0) break;
      await this.#writer.write(doomed, 'os');
    }
    const past = [...this.#state.seals.keys()].filter((each) => each < trimmed.generation);
    if (past.length === 0) return;
    await this.#writer.write(
      past.map((generation) => del(sealKey(generation))),
      'os',
    );
    const seals = new Map([...this.#state.seals].filter(([each]) => !past.includes(each)));
    this.#state = { ...this.#state, seals };
  }
}
