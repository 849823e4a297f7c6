import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ClassicLevel } from 'classic-level';
import { contactAt, contactId } from './crm.js';

/*
 * Plain programs with the same libraries that move and write about the same bytes: what is left when the
 * engine is taken away. They hold no history, no scopes, no staging and no conflicts.
 */

const rowsPerPage = 500;
const text = new TextEncoder();

type Database = ClassicLevel<Uint8Array, Uint8Array>;

const inFolder = async <T>(work: (open: (name: string) => Promise<Database>) => Promise<T>) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-floor-'));
  const opened: Database[] = [];
  try {
    return await work(async (name) => {
      const database: Database = new ClassicLevel(path.join(folder, name), {
        keyEncoding: 'view',
        valueEncoding: 'view',
      });
      opened.push(database);
      await database.open();
      return database;
    });
  } finally {
    for (const one of opened) await one.close();
    await rm(folder, { recursive: true, force: true });
  }
};

const rowOf = (i: number): Uint8Array =>
  text.encode(JSON.stringify({ id: contactId(i), ...contactAt(i) }));

const joined = (parts: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

const pageKey = (at: number): Uint8Array => text.encode(`p${String(at).padStart(9, '0')}`);

/**
 * Seconds to read `records` rows as ready pages from one database, and to write the pages to another: the
 * page floor of a first sync. The pages are prepared outside the timed part.
 */
export const pageFloorSeconds = (records: number): Promise<number> =>
  inFolder(async (open) => {
    const [from, to] = [await open('server'), await open('device')];
    for (let at = 0; at < records; at += rowsPerPage) {
      const rows: Uint8Array[] = [];
      for (let i = at; i < Math.min(records, at + rowsPerPage); i += 1) rows.push(rowOf(i));
      await from.put(pageKey(at), joined(rows));
    }
    const started = performance.now();
    for await (const [key, page] of from.iterator()) await to.put(key, page);
    await to.batch().put(pageKey(records), new Uint8Array(1)).write({ sync: true });
    return (performance.now() - started) / 1_000;
  });

const operationBytes = 160;
const ledgerBytes = 60;
const operationsPerValue = 100;
const valuesPerBatch = 50;

/**
 * Seconds to read `operations` from a log of values of 100 operations, hash and store them as input, and write
 * each touched record, sorted within a batch, and the ledger: the floor of an upload. Records are written
 * without reading what was there.
 */
export const uploadFloorSeconds = (operations: number, records: number): Promise<number> =>
  inFolder(async (open) => {
    const [log, server] = [await open('device'), await open('server')];
    const value = new Uint8Array(operationBytes * operationsPerValue).fill(7);
    for (let at = 0; at < operations; at += operationsPerValue) await log.put(pageKey(at), value);
    const rows = Array.from({ length: 100 }, (_, i) => rowOf(i));
    const started = performance.now();
    let operation = 0;
    let batch = server.batch();
    let values = 0;
    const write = async (): Promise<void> => {
      const keys: string[] = [];
      for (let i = 0; i < values * operationsPerValue; i += 1) {
        keys.push(contactId((operation * 7_919) % records));
        operation += 1;
      }
      keys.sort();
      for (const key of keys) batch.put(text.encode(key), rows[operation % 100] ?? value);
      batch.put(pageKey(operation), new Uint8Array(ledgerBytes * keys.length));
      await batch.write({ sync: true });
      batch = server.batch();
      values = 0;
    };
    for await (const [key, bytes] of log.iterator()) {
      createHash('sha256').update(bytes).digest();
      batch.put(joined([text.encode('i'), key]), bytes);
      values += 1;
      if (values === valuesPerBatch) await write();
    }
    if (values > 0) await write();
    return (performance.now() - started) / 1_000;
  });

const viewBytes = 350;

/**
 * Seconds to read a record and to write an operation and the record's new view, for so many edits in batches
 * that wait for each other: the floor of local edits.
 */
export const editFloorSeconds = (
  edits: number,
  records: number,
  perBatch: number,
  sync: boolean,
): Promise<number> =>
  inFolder(async (open) => {
    const device = await open('device');
    for (let at = 0; at < records; at += rowsPerPage) {
      const batch = device.batch();
      for (let i = at; i < Math.min(records, at + rowsPerPage); i += 1)
        batch.put(text.encode(contactId(i)), rowOf(i));
      await batch.write();
    }
    const value = new Uint8Array(operationBytes).fill(7);
    const view = new Uint8Array(viewBytes).fill(7);
    const started = performance.now();
    for (let from = 0; from < edits; from += perBatch) {
      const batch = device.batch();
      for (let i = from; i < Math.min(edits, from + perBatch); i += 1) {
        const key = text.encode(contactId((i * 7_919) % records));
        if (device.getSync(key) === undefined) throw new Error('a record is missing');
        batch.put(joined([text.encode('v'), key]), view);
        batch.put(pageKey(i), value);
      }
      await batch.write({ sync });
    }
    return (performance.now() - started) / 1_000;
  });
