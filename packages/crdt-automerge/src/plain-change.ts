import { equalBytes, toHex, utf8Decode } from '@tidemark/model';
import { ByteReader, UndecodableError } from './byte-reader.js';
import type { ChangeChunk } from './change-chunk.js';
import {
  absent,
  readBooleans,
  readDeltas,
  readNumbers,
  slebBytes,
  writeBooleans,
  writeDeltas,
  writeNumbers,
} from './plain-columns.js';

/** OpRef names an operation: its number and its author's actor, hexadecimal. */
export interface OpRef {
  readonly ctr: number;
  readonly actor: string;
}

/** TextStep inserts characters in a row, or deletes characters whose operations are numbered in a row. */
export type TextStep =
  | {
      readonly kind: 'insert';
      /** Character behind which it goes, deleted or not; null: the front. */
      readonly after: OpRef | null;
      /** Number of the first character; its author is that of the change. */
      readonly ctr: number;
      readonly text: string;
      /** Characters (code points) of `text`. */
      readonly count: number;
    }
  | {
      readonly kind: 'delete';
      readonly ctr: number;
      readonly actor: string;
      readonly count: number;
    };

/** Largest number of operations of a change that is read as plain; larger ones are applied by Automerge. */
export const plainChangeOperationsMax = 65_536;
/** Largest number of steps of a plain change: each costs a search through the text. */
export const plainChangeStepsMax = 1_024;

const hashBytes = 32;
const insertAction = 1;
const deleteAction = 3;
const stringType = 6;

/** Columns of the operations of a text; any other makes a change more than plain. */
const column = {
  objectActor: 0x01,
  objectCtr: 0x02,
  keyActor: 0x11,
  keyCtr: 0x13,
  insert: 0x34,
  action: 0x42,
  valueMeta: 0x56,
  value: 0x57,
  predCount: 0x70,
  predActor: 0x71,
  predCtr: 0x73,
} as const;
const plainColumns: ReadonlySet<number> = new Set(Object.values(column));

class NotPlain extends UndecodableError {}

const verify: (fact: boolean, what: string) => asserts fact = (fact, what) => {
  if (!fact) throw new NotPlain(what);
};

/** Reads the head of a change and gives its actors: the author's first, as its columns number them. */
const readHead = (reader: ByteReader, content: Uint8Array, chunk: ChangeChunk): string[] => {
  const { deps, actor } = chunk;
  for (let i = 1; i < deps.length; i += 1)
    verify((deps[i - 1] as string) < (deps[i] as string), 'order of dependencies');
  reader.uleb();
  reader.take(deps.length * hashBytes);
  reader.take(reader.uleb());
  reader.uleb();
  reader.uleb();
  const timeAt = reader.at;
  const time = slebBytes(reader.sleb());
  const stored = content.subarray(timeAt, reader.at);
  verify(equalBytes(stored, Uint8Array.from(time)), 'time not in its shortest form');
  verify(reader.uleb() === 0, 'a message');
  const actors = [actor];
  for (let others = reader.uleb(), before = ''; others > 0; others -= 1) {
    const other = toHex(reader.take(reader.uleb()));
    verify(other > before && other !== actor, 'order of actors');
    actors.push(other);
    before = other;
  }
  return actors;
};

const readColumns = (reader: ByteReader): ReadonlyMap<number, Uint8Array> => {
  const lengths: [number, number][] = [];
  for (let columns = reader.uleb(), before = 0; columns > 0; columns -= 1) {
    const id = reader.uleb();
    const length = reader.uleb();
    verify(id > before && plainColumns.has(id) && length > 0, 'a column');
    lengths.push([id, length]);
    before = id;
  }
  const found = new Map(lengths.map(([id, length]) => [id, reader.take(length)]));
  verify(reader.done, 'bytes behind the columns');
  return found;
};

interface Rows {
  readonly objectActor: readonly number[];
  readonly objectCtr: readonly number[];
  readonly keyActor: readonly number[];
  readonly keyCtr: readonly number[];
  readonly insert: readonly boolean[];
  readonly action: readonly number[];
  readonly valueMeta: readonly number[];
  readonly predCount: readonly number[];
  readonly predActor: readonly number[];
  readonly predCtr: readonly number[];
}

/*
 * Automerge names a change by the hash of its bytes and, once saved, writes them anew from the columns. So
 * a column written in any other way than Automerge's own makes a document that cannot be loaded.
 */
const readRows = (columns: ReadonlyMap<number, Uint8Array>, rows: number): Rows => {
  const none = new Uint8Array(0);
  const as = <A>(
    id: number,
    count: number,
    read: (bytes: Uint8Array, rows: number) => A,
    write: (values: A) => Uint8Array,
  ): A => {
    const bytes = columns.get(id) ?? none;
    const values = read(bytes, count);
    verify(equalBytes(write(values), bytes), 'a column written in another way');
    return values;
  };
  const numbers = (id: number, count = rows) => as(id, count, readNumbers, writeNumbers);
  const deltas = (id: number, count = rows) => as(id, count, readDeltas, writeDeltas);
  const predCount = numbers(column.predCount);
  let preds = 0;
  for (const count of predCount) {
    verify(count === 0 || count === 1, 'predecessors');
    preds += count;
  }
  return {
    objectActor: numbers(column.objectActor),
    objectCtr: numbers(column.objectCtr),
    keyActor: numbers(column.keyActor),
    keyCtr: deltas(column.keyCtr),
    insert: as(column.insert, rows, readBooleans, writeBooleans),
    action: numbers(column.action),
    valueMeta: numbers(column.valueMeta),
    predCount,
    predActor: numbers(column.predActor, preds),
    predCtr: deltas(column.predCtr, preds),
  };
};

/** Characters of a column of values, checked against the length in bytes that each row states. */
export class CharacterReader {
  readonly #text: string;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#text = utf8Decode(bytes);
  }

  /** Next character, when `meta` says that it is one; undefined for anything else. */
  next(meta: number): string | undefined {
    const point = this.#text.codePointAt(this.#at);
    if (point === undefined) return undefined;
    const bytes = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (meta !== bytes * 16 + stringType) return undefined;
    const start = this.#at;
    this.#at += point < 0x10000 ? 1 : 2;
    return this.#text.slice(start, this.#at);
  }

  /** Tells whether every character was read. */
  get done(): boolean {
    return this.#at === this.#text.length;
  }
}

const stepsOf = (chunk: ChangeChunk, actors: readonly string[], rows: Rows, values: Uint8Array) => {
  const characters = new CharacterReader(values);
  const used = new Set<number>([0]);
  const actorAt = (index: number): string => {
    const actor = actors[index];
    verify(actor !== undefined, 'an actor');
    used.add(index);
    return actor;
  };
  const steps: TextStep[] = [];
  let preds = 0;
  // The step under way: inserted characters are gathered until one goes elsewhere.
  let open: { kind: TextStep['kind']; after: OpRef | null; ctr: number; actor: string } | undefined;
  let text = '';
  let count = 0;
  const close = (): void => {
    if (open?.kind === 'insert')
      steps.push({ kind: 'insert', after: open.after, ctr: open.ctr, text, count });
    else if (open !== undefined)
      steps.push({ kind: 'delete', ctr: open.ctr, actor: open.actor, count });
    open = undefined;
    text = '';
    count = 0;
  };
  for (let i = 0; i < chunk.operations; i += 1) {
    const ctr = chunk.startOp + i;
    const keyCtr = rows.keyCtr[i] as number;
    const keyActor = rows.keyActor[i] as number;
    actorAt(rows.objectActor[i] as number);
    const atFront = keyActor === absent && keyCtr === 0;
    verify(atFront || (keyCtr > 0 && keyCtr < ctr), 'a key');
    const actor = atFront ? '' : actorAt(keyActor);
    if (rows.insert[i] === true) {
      const character = characters.next(rows.valueMeta[i] as number);
      verify(rows.action[i] === insertAction && rows.predCount[i] === 0, 'an insertion');
      verify(character !== undefined, 'a character');
      const follows = open?.kind === 'insert' && keyCtr === ctr - 1 && keyActor === 0;
      if (!follows) {
        close();
        open = { kind: 'insert', after: atFront ? null : { ctr: keyCtr, actor }, ctr, actor };
      }
      text += character;
    } else {
      verify(rows.action[i] === deleteAction && rows.valueMeta[i] === 0, 'a deletion');
      verify(!atFront && rows.predCount[i] === 1, 'a deletion');
      const same = rows.predCtr[preds] === keyCtr && rows.predActor[preds] === keyActor;
      verify(same, 'a predecessor');
      preds += 1;
      const follows =
        open?.kind === 'delete' && open.actor === actor && keyCtr === open.ctr + count;
      if (!follows) {
        close();
        open = { kind: 'delete', after: null, ctr: keyCtr, actor };
      }
    }
    count += 1;
    verify(steps.length < plainChangeStepsMax, 'the number of steps');
  }
  close();
  verify(characters.done && used.size === actors.length, 'values or actors left over');
  return steps;
};

/**
 * Steps of a change that does nothing but insert and delete characters of the text `object`, and that is
 * written exactly as Automerge writes it. Undefined for any other change, forged or not: Automerge itself
 * has to say what that one does.
 */
export const readPlainChange = (
  chunk: ChangeChunk,
  object: OpRef,
): readonly TextStep[] | undefined => {
  if (chunk.operations === 0 || chunk.operations > plainChangeOperationsMax) return undefined;
  try {
    const reader = new ByteReader(chunk.content);
    const actors = readHead(reader, chunk.content, chunk);
    const columns = readColumns(reader);
    const rows = readRows(columns, chunk.operations);
    const index = actors.indexOf(object.actor);
    for (let i = 0; i < chunk.operations; i += 1)
      verify(rows.objectActor[i] === index && rows.objectCtr[i] === object.ctr, 'another object');
    return stepsOf(chunk, actors, rows, columns.get(column.value) ?? new Uint8Array(0));
  } catch (cause) {
    // A TypeError tells of bytes that are no UTF-8.
    if (cause instanceof UndecodableError || cause instanceof TypeError) return undefined;
    throw cause;
  }
};
