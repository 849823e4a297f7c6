import { cp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { TidemarkError } from '@tidemark/model';
import { ClassicLevel } from 'classic-level';
import type { Database } from './database.js';
import { openDatabase, type OpenedDatabase, type StoreKind } from './open-database.js';
import { holdFolder } from './held-folders.js';
import { isCorruption, storageError } from './storage-error.js';

/** Maximum number of copies of damaged databases beside one database: the next repair is refused. */
export const damagedCopiesMax = 8;

/** Options of `openDatabaseFolder`. */
export interface DatabaseFolderOptions {
  /** Folder of the database files; created if nothing was there before. */
  readonly location: string;
  readonly kind: StoreKind;
  readonly format: number;
  /** Id from the marker beside the folder; undefined when there is no marker. */
  readonly expectedId: Uint8Array | undefined;
  /** Repairs before opening, because an earlier read found damage. */
  readonly repairWanted?: boolean;
  /** False refuses to create a store: `store-missing`. */
  readonly create?: boolean;
  /** Bytes that LevelDB holds in memory and in its log; 4 MB when absent. */
  readonly writeBufferSize?: number;
  readonly newId?: Uint8Array;
}

/** Why a database was repaired, and where the copy of the damaged files is. */
export interface Repair {
  readonly reason: string;
  /** Name of the copy, beside the folder of the database. */
  readonly copy: string;
}

/** Database of a folder, opened. */
export interface OpenedFolder extends OpenedDatabase {
  readonly repair: Repair | undefined;
}

interface FileCounts {
  readonly tables: number;
  readonly logs: number;
  readonly manifests: number;
  readonly current: boolean;
}

const countFiles = async (location: string): Promise<FileCounts> => {
  let names: readonly string[];
  try {
    names = await readdir(location);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw error;
    names = [];
  }
  const count = (pattern: RegExp): number => names.filter((name) => pattern.test(name)).length;
  return {
    tables: count(/^\d+\.(ldb|sst)$/),
    logs: count(/^\d+\.log$/),
    manifests: count(/^MANIFEST-\d+$/),
    current: names.includes('CURRENT'),
  };
};

const messageOf = (error: unknown): string => {
  let current: unknown = error;
  let message = '';
  for (let depth = 0; depth < 4 && current instanceof Error; depth += 1) {
    message = current.message;
    current = current.cause;
  }
  return message;
};

/** LevelDB names a missing MANIFEST as a missing file, other damage as corruption. */
const isDamage = (error: unknown): boolean =>
  isCorruption(error) || /No such file|does not exist|NotFound/i.test(messageOf(error));

/** The reason without the paths that LevelDB puts into its messages. */
const printReason = (error: unknown, location: string): string =>
  messageOf(error).replaceAll(location, basename(location)).slice(0, 200);

/** Tells of a CURRENT that LevelDB would misread or a MANIFEST that is not there, before it is asked. */
const findBrokenHead = async (location: string): Promise<string | undefined> => {
  const current = await readFile(join(location, 'CURRENT'), 'latin1');
  if (!/^MANIFEST-\d+\n$/.test(current)) return 'CURRENT is unreadable';
  try {
    const { size } = await stat(join(location, current.trim()));
    return size === 0 ? 'MANIFEST is empty' : undefined;
  } catch {
    return 'MANIFEST is missing';
  }
};

const copyAside = async (location: string): Promise<string> => {
  const parent = join(location, '..');
  const names = new Set(await readdir(parent));
  for (let k = 1; k <= damagedCopiesMax; k += 1) {
    const name = `${basename(location)}.damaged-${k}`;
    if (names.has(name)) continue;
    const partial = join(parent, `${name}.partial`);
    await rm(partial, { recursive: true, force: true });
    await cp(location, partial, { recursive: true });
    await rename(partial, join(parent, name));
    return name;
  }
  throw new TidemarkError('storage-damaged', 'too many copies of damaged databases are kept', {
    copies: damagedCopiesMax,
  });
};

const open = async (
  options: DatabaseFolderOptions,
  { create, mayCreate }: { readonly create: boolean; readonly mayCreate: boolean },
): Promise<OpenedDatabase> => {
  const { location, kind, format, expectedId, newId, writeBufferSize } = options;
  // Under some compiler options the class's own batch types do not fit those of its base class.
  const database = new ClassicLevel<Uint8Array, Uint8Array>(location, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    createIfMissing: create,
    ...(writeBufferSize === undefined ? {} : { writeBufferSize }),
  }) as unknown as Database;
  try {
    const opened = await openDatabase({
      database,
      kind,
      format,
      expectedId,
      mayCreate,
      ...(newId === undefined ? {} : { newId }),
    });
    return { ...opened, copiesBatches: true };
  } catch (error) {
    await database.close().catch(() => undefined);
    throw error;
  }
};

const repairAndOpen = async (
  options: DatabaseFolderOptions,
  reason: string,
): Promise<OpenedFolder> => {
  const copy = await copyAside(options.location);
  try {
    await ClassicLevel.repair(options.location);
  } catch (error) {
    throw storageError(error);
  }
  // An empty database after a repair means that all is lost: it must not pass as a new store.
  const opened = await open(options, { create: false, mayCreate: false });
  return { ...opened, repair: { reason, copy } };
};

/**
 * Opens the database of a folder, and creates it only when neither a marker nor a database file is there:
 * LevelDB takes a folder without CURRENT for an empty one and deletes its files. A database that does not
 * open for damage is copied aside, repaired, opened again; `repair` tells so.
 *
 * Rejects with `store-missing` (a marker but no files; or `create` false), `storage-damaged` (files but no
 * CURRENT, or beyond repair), `folder-in-use`, `newer-format`, `storage-unavailable`; files are untouched.
 */
export const openDatabaseFolder = async (options: DatabaseFolderOptions): Promise<OpenedFolder> => {
  const hold = await holdFolder(options.location);
  try {
    const opened = await openHeldFolder(options);
    // A store closes its database for good, or opens it again after a failed write.
    opened.database.on('closed', hold.release);
    opened.database.on('open', hold.take);
    return opened;
  } catch (error) {
    hold.release();
    throw error;
  }
};

const openHeldFolder = async (options: DatabaseFolderOptions): Promise<OpenedFolder> => {
  const { location, expectedId } = options;
  try {
    const { tables, logs, manifests, current } = await countFiles(location);
    const counts = { tables, logs, manifests };
    if (!current && tables + logs + manifests > 0)
      throw new TidemarkError('storage-damaged', 'database files without CURRENT', counts);
    if (!current && (expectedId !== undefined || options.create === false))
      throw new TidemarkError('store-missing', 'the database files are gone', counts);
    if (!current)
      return { ...(await open(options, { create: true, mayCreate: true })), repair: undefined };
    const broken = await findBrokenHead(location);
    if (broken !== undefined) return await repairAndOpen(options, broken);
    if (options.repairWanted === true)
      return await repairAndOpen(options, 'a read had found corruption');
    try {
      return { ...(await open(options, { create: false, mayCreate: true })), repair: undefined };
    } catch (error) {
      if (!isDamage(error)) throw error;
      return await repairAndOpen(options, printReason(error, location));
    }
  } catch (error) {
    throw storageError(error);
  }
};
