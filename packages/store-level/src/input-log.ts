import { invariant, TidemarkError, type Hash } from '@tidemark/model';
import type {
  Clock,
  InputLog,
  InputMessage,
  InputPosition,
  Marker,
  StoreDamage,
} from '@tidemark/ports';
import { del, put, type Database, type DatabaseOperation } from './database.js';
import { GroupWriter } from './group-writer.js';
import {
  comparePositions,
  decodeMessage,
  encodeEnd,
  encodeMessage,
  encodePosition,
  encodeSeal,
  endKey,
  messageKey,
  messagePosition,
  sealKey,
  trimmedKey,
  type InputEnd,
} from './input-keys.js';
import {
  findInputHoles,
  firstKept,
  nextPosition,
  readInputState,
  type InputState,
} from './input-state.js';
import { openDatabase } from './open-database.js';
import { printRanges, type RingState } from './ordinal-ring.js';
import { openMarker, type OpenMarker } from './server-marker.js';
import { guardedRead, scanKeys, type ReadGuard } from './server-reads.js';
import { guarded } from './storage-error.js';

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
  const { database, hash, clock, marker, ring } = parts;
  /** Positions given out so far: `state.end` runs ahead of what is stored. */
  let state = await readInputState(database);
  /** End of what is stored and durable: readers see nothing behind it. */
  let durable: InputEnd = state.end;
  const writer = new GroupWriter({
    database,
    ring,
    ordinalAtLeast: marker.ordinal,
    onReopened: async () => {
      state = await readInputState(database);
      durable = state.end;
    },
  });
  const keeper = await marker.attach(parts.storeId, () => writer.durableOrdinal);
  const guard: ReadGuard = {
    ready: () => writer.reopening,
    onCorruption: () => keeper.wantRepair(),
  };
  const suspect = parts.repaired || ring.lostCount > 0;
  const holes = await findInputHoles(database, state, suspect);
  const damage = [...parts.damage, ...inputDamage(state.end, holes, ring, marker.ordinal)];
  let bytesWaiting = 0;
  let appends = 0;

  /**
   * Gives positions and times and writes, all in one turn of the event loop: the order of calls is the
   * order of positions. Behind a failed write the ends are read anew first.
   */
  const append = async (messages: readonly Uint8Array[]): Promise<readonly InputPosition[]> => {
    if (messages.length === 0) return [];
    let bytes = 0;
    for (const message of messages) bytes += message.length;
    if (bytesWaiting > 0 && bytesWaiting + bytes > appendBytesWaitingMax)
      throw new TidemarkError('storage-unavailable', 'too many appends are waiting', {
        bytes: bytesWaiting,
      });
    if (writer.broken) await writer.recover();
    const { generation, seq, atMs: previous } = state.end;
    const atMs = Math.max(Math.floor(clock.nowMs()), previous);
    const end: InputEnd = { generation, seq: seq + messages.length, atMs };
    const positions: InputPosition[] = [];
    const operations: DatabaseOperation[] = [];
    for (const message of messages) {
      const position = { generation, seq: seq + positions.length + 1 };
      positions.push(position);
      operations.push(put(messageKey(position), encodeMessage(atMs, message)));
    }
    operations.push(put(endKey, encodeEnd(end)));
    state = { ...state, end };
    bytesWaiting += bytes;
    try {
      await writer.write(operations, 'disk');
    } finally {
      bytesWaiting -= bytes;
    }
    if (comparePositions(end, durable) > 0) durable = end;
    appends += 1;
    // The marker is a second witness only: an append does not wait for it, nor fail with it.
    if (appends % appendsPerMark === 0) keeper.recordOrdinal().catch(() => undefined);
    return positions;
  };

  const startGeneration = async (expected: number, first: Uint8Array): Promise<InputPosition> => {
    if (writer.broken) await writer.recover();
    const { end, seals } = state;
    if (end.generation !== expected)
      throw new TidemarkError('behind', 'another generation of the input has started', {
        expected,
        current: end.generation,
      });
    const position = { generation: expected + 1, seq: 1 };
    const atMs = Math.max(Math.floor(clock.nowMs()), end.atMs);
    state = {
      ...state,
      end: { ...position, atMs },
      seals: new Map([...seals, [expected, end.seq]]),
    };
    await writer.write(
      [
        put(sealKey(expected), encodeSeal(end.seq)),
        put(messageKey(position), encodeMessage(atMs, first)),
        put(endKey, encodeEnd({ ...position, atMs })),
      ],
      'disk',
      undefined,
      // Whoever starts a generation has seen what the one before lost.
      true,
    );
    if (comparePositions(position, durable) > 0) durable = { ...position, atMs };
    return position;
  };

  const trim = async (position: InputPosition): Promise<void> => {
    if (writer.broken) await writer.recover();
    const wanted = comparePositions(position, durable) > 0 ? durable : position;
    if (comparePositions(wanted, state.trimmed) <= 0) return;
    const trimmed = { generation: wanted.generation, seq: wanted.seq };
    state = { ...state, trimmed };
    // Durable before the first removal: else a crash would make the removed ones look lost.
    await writer.write([put(trimmedKey, encodePosition(trimmed))], 'disk');
    for (;;) {
      const doomed: DatabaseOperation[] = [];
      const keys = database.keys({
        gte: messageKey({ generation: 0, seq: 0 }),
        lte: messageKey(trimmed),
        limit: trimStep,
      });
      for (const key of await keys.all()) doomed.push(del(key));
      if (doomed.length === 0) break;
      await writer.write(doomed, 'os');
    }
    const past = [...state.seals.keys()].filter((generation) => generation < trimmed.generation);
    if (past.length === 0) return;
    await writer.write(
      past.map((generation) => del(sealKey(generation))),
      'os',
    );
    state = { ...state, seals: new Map([...state.seals].filter(([g]) => !past.includes(g))) };
  };

  return {
    damage,
    append: (messages) => guarded(() => append(messages)),
    read: (after, bounds) =>
      guardedRead(guard, () => readMessages(database, { ...state, end: durable }, after, bounds)),
    extent: () =>
      Promise.resolve({
        generation: durable.generation,
        first: firstKept({ ...state, end: durable }),
        last: durable.seq,
      }),
    hashAt: (position) =>
      guardedRead(guard, async () => {
        if (position.generation < 1 || position.seq < 1) return undefined;
        const value = await database.get(messageKey(position));
        return value === undefined ? undefined : hash(decodeMessage(position, value).bytes);
      }),
    startGeneration: (expected, first) => guarded(() => startGeneration(expected, first)),
    trim: (position) => guarded(() => trim(position)),
    close: () =>
      guarded(async () => {
        try {
          await writer.sync();
          await keeper.recordOrdinal();
        } finally {
          await writer.close();
          await database.close();
        }
      }),
  };
};

/**
 * Messages after a position. Never passes over a missing message: it ends before it, and a read that
 * would begin with one rejects with `storage-damaged` and its range.
 */
const readMessages = async (
  database: Database,
  state: InputState,
  after: InputPosition,
  bounds: { readonly maxBytes: number; readonly maxMessages: number },
): Promise<readonly InputMessage[]> => {
  const messages: InputMessage[] = [];
  let position = after.generation < 1 ? { generation: 1, seq: 0 } : after;
  if (comparePositions(position, state.trimmed) < 0)
    throw new TidemarkError('storage-damaged', 'the input before this position was trimmed', {
      generation: state.trimmed.generation,
      trimmedTo: state.trimmed.seq,
    });
  let expected = nextPosition(state, position);
  if (expected === undefined || bounds.maxMessages < 1) return messages;
  const start = expected;
  let bytes = 0;
  let found: InputPosition | undefined;
  await scanKeys(
    database,
    // What became durable after this call began is left to the next one.
    { gte: messageKey(start), lte: messageKey(state.end) },
    { entries: bounds.maxMessages, bytes: bounds.maxBytes },
    (key, value) => {
      const message = decodeMessage(messagePosition(key), value);
      found = message.position;
      if (expected === undefined || comparePositions(found, expected) !== 0) return false;
      if (messages.length > 0 && bytes + message.bytes.length > bounds.maxBytes) return false;
      messages.push(message);
      bytes += message.bytes.length;
      position = found;
      expected = nextPosition(state, position);
      return true;
    },
  );
  if (messages.length > 0) return messages;
  invariant(expected !== undefined, 'a read ended before its first message');
  throw new TidemarkError('storage-damaged', 'messages of the input are missing', {
    generation: expected.generation,
    first: expected.seq,
    foundGeneration: found?.generation ?? state.end.generation,
    foundSeq: found?.seq ?? state.end.seq,
  });
};

/** Damage of the current generation: missing messages, else missing batches, and a missing tail. */
const inputDamage = (
  end: InputEnd,
  holes: { readonly ranges: readonly { first: number; last: number }[]; readonly count: number },
  ring: RingState,
  markerOrdinal: number,
): readonly StoreDamage[] => {
  const damage: StoreDamage[] = [];
  if (holes.count > 0)
    damage.push({
      kind: 'log-hole',
      where: `generation ${end.generation}, messages ${printRanges(holes.ranges)}`,
      count: holes.count,
    });
  else if (ring.lostCount > 0)
    damage.push({
      kind: 'log-hole',
      where: `input batches ${printRanges(ring.lost)}`,
      count: ring.lostCount,
    });
  if (markerOrdinal > ring.head)
    damage.push({
      kind: 'log-tail',
      where: `input batches ${ring.head + 1}..${markerOrdinal} at the end`,
      count: markerOrdinal - ring.head,
    });
  return damage;
};
