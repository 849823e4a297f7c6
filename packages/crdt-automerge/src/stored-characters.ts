import { toHex } from '@tidemark/model';
import { ByteReader, TooLargeError, UndecodableError } from './byte-reader.js';
import { columnRows } from './column-rows.js';
import { pushRun, type Characters, type Run } from './character-runs.js';
import { CharacterReader, type OpRef } from './plain-change.js';
import { absent, readBooleans, readDeltas, readNumbers } from './plain-columns.js';

/** StoredCharacters is what a saved document says of its text. */
export interface StoredCharacters {
  readonly object: OpRef;
  readonly characters: Characters;
}

const chunkHeaderBytes = 8;
const hashBytes = 32;
const makeTextAction = 4;
const setAction = 1;

const column = {
  objectActor: 0x01,
  objectCtr: 0x02,
  keyActor: 0x11,
  keyCtr: 0x13,
  keyText: 0x15,
  idActor: 0x21,
  idCtr: 0x23,
  insert: 0x34,
  action: 0x42,
  valueMeta: 0x56,
  value: 0x57,
  successorCount: 0x80,
  successorActor: 0x81,
  successorCtr: 0x83,
} as const;
const plainColumns: ReadonlySet<number> = new Set(Object.values(column));

const columnLengths = (reader: ByteReader): [number, number][] => {
  const lengths: [number, number][] = [];
  for (let columns = reader.uleb(); columns > 0; columns -= 1)
    lengths.push([reader.uleb(), reader.uleb()]);
  return lengths;
};

/** Actors and the columns of the operations of a document chunk. */
const readDocument = (bytes: Uint8Array) => {
  const reader = new ByteReader(bytes);
  reader.take(chunkHeaderBytes + 1);
  reader.uleb();
  const actors: string[] = [];
  for (let count = reader.uleb(); count > 0; count -= 1)
    actors.push(toHex(reader.take(reader.uleb())));
  reader.take(reader.uleb() * hashBytes);
  const changeColumns = columnLengths(reader);
  const operationColumns = columnLengths(reader);
  for (const [, length] of changeColumns) reader.take(length);
  return {
    actors,
    columns: new Map(operationColumns.map(([id, length]) => [id, reader.take(length)])),
  };
};

const read = (bytes: Uint8Array, rowsMax: number): StoredCharacters | undefined => {
  const { actors, columns } = readDocument(bytes);
  const none = new Uint8Array(0);
  const columnOf = (id: number) => columns.get(id) ?? none;
  const rows = columnRows(column.action, columnOf(column.action), rowsMax);
  for (const id of columns.keys()) if (!plainColumns.has(id)) return undefined;
  const numbers = (id: number) => readNumbers(columnOf(id), rows);
  const objectActor = numbers(column.objectActor);
  const objectCtr = numbers(column.objectCtr);
  const idActor = numbers(column.idActor);
  const idCtr = readDeltas(columnOf(column.idCtr), rows);
  const insert = readBooleans(columnOf(column.insert), rows);
  const action = numbers(column.action);
  const valueMeta = numbers(column.valueMeta);
  const successors = numbers(column.successorCount);
  const values = new CharacterReader(columnOf(column.value));
  const makesText =
    objectCtr[0] === absent &&
    action[0] === makeTextAction &&
    valueMeta[0] === 0 &&
    successors[0] === 0;
  if (!makesText) return undefined;
  const maker = idActor[0] as number;
  const object = { ctr: idCtr[0] as number, actor: actors[maker] ?? '' };
  const runs: Run[] = [];
  const shown: string[] = [];
  for (let i = 1; i < rows; i += 1) {
    const actor = actors[idActor[i] as number];
    const ctr = idCtr[i] as number;
    const text = values.next(valueMeta[i] as number);
    const plain =
      objectActor[i] === maker &&
      objectCtr[i] === object.ctr &&
      insert[i] === true &&
      action[i] === setAction;
    if (!plain || actor === undefined || ctr < 1 || text === undefined) return undefined;
    const deleted = successors[i] !== 0;
    if (!deleted) shown.push(text);
    pushRun(runs, { ctr, actor, count: 1, text: deleted ? '' : text, deleted });
  }
  if (!values.done) return undefined;
  return { object, characters: { runs, text: shown.join('') } };
};

/**
 * Characters of a document that was saved without compression. Undefined when it holds anything but
 * characters that were inserted and deleted, or more than `rowsMax` of them.
 */
export const readStoredCharacters = (
  bytes: Uint8Array,
  rowsMax: number,
): StoredCharacters | undefined => {
  try {
    return read(bytes, rowsMax);
  } catch (cause) {
    // A TypeError tells of bytes that are no UTF-8.
    const known =
      cause instanceof UndecodableError ||
      cause instanceof TooLargeError ||
      cause instanceof TypeError;
    if (known) return undefined;
    throw cause;
  }
};
