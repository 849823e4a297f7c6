import { readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { Settings } from '../config/settings.js';
import { readState, writeWhole } from '../state-file.js';
import { isThere } from './paths.js';

const noteFile = 'input-place.json';

/**
 * Where the input of a server lies: in its folder, in the nats-server that `serve` starts (beside the folder),
 * in another NATS, or nowhere yet. Opening a folder with another input than its own would begin a new
 * incarnation, so commands look here first.
 */
export type InputPlace = 'none' | 'folder' | 'managed' | 'nats';

/**
 * Folder of the nats-server that `serve` starts: beside the server's, so that a restore leaves it alone. All
 * tenants of a configuration share one.
 */
export const managedNatsFolder = (settings: Settings): string =>
  settings.text('nats.folder') ??
  (settings.tenants === undefined
    ? `${settings.needed('folder')}.nats`
    : path.join(settings.needed('tenantsFolder'), '.nats'));

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);

/** Whether the files of a nats-server hold a stream of the tenant: it names folders by streams. */
const holdsStream = async (folder: string, tenant: string): Promise<boolean> => {
  const accounts = path.join(folder, 'store', 'jetstream');
  for (const account of await namesIn(accounts))
    for (const stream of await namesIn(path.join(accounts, account, 'streams')))
      if (stream.startsWith(`OPS-${tenant}-`) && /^\d+$/.test(stream.slice(tenant.length + 5)))
        return true;
  return false;
};

/** Tells where the input of the configured folder lies. */
export const inputPlaceOf = async (settings: Settings): Promise<InputPlace> => {
  const folder = settings.needed('folder');
  const managed = managedNatsFolder(settings);
  if (
    settings.tenants === undefined
      ? await isThere(path.join(managed, 'store'))
      : await holdsStream(managed, settings.needed('tenant'))
  )
    return 'managed';
  if (await isThere(path.join(folder, noteFile))) return 'nats';
  return (await isThere(path.join(folder, 'input'))) ? 'folder' : 'none';
};

/** Name of the input in NATS that a folder noted; undefined when it noted none. */
const notedName = async (folder: string): Promise<string | undefined> => {
  const name = (await readState(path.join(folder, noteFile)))?.['name'];
  return typeof name === 'string' ? name : undefined;
};

/** Notes in the folder that its input lies in NATS, and the name that it has there once it is known. */
export const noteNatsInput = async (folder: string, name: string | undefined): Promise<void> => {
  const file = path.join(folder, noteFile);
  if ((await isThere(file)) && (name === undefined || (await notedName(folder)) === name)) return;
  await writeWhole(file, `${JSON.stringify({ format: 1, input: 'nats', name })}\n`);
};

/** What a NATS holds of a tenant: the name of its input, if it tells one; undefined when it holds none. */
export type FoundInput = { readonly name: string | undefined } | undefined;

/**
 * Refuses a NATS that does not hold the input that the folder noted. `mayBegin` is false for commands that
 * only look: they make no stream. Rejects with `invalid-option`.
 */
export const requireNotedInput = async (
  folder: string,
  found: FoundInput,
  mayBegin: boolean,
): Promise<void> => {
  const noted = await notedName(folder);
  const isOther = noted !== undefined && (found === undefined || (found.name ?? noted) !== noted);
  if (!isOther && (mayBegin || found !== undefined)) return;
  const holds =
    found === undefined
      ? 'this NATS holds no input of this tenant'
      : 'this NATS holds another input of this tenant than the server has folded';
  throw new TidemarkError(
    'invalid-option',
    `${holds}: name the right one by nats.servers, TIDEMARK_NATS or --nats; if the input is lost, \`tidemark serve --move-input\` goes on with this NATS, under a new incarnation`,
  );
};

const moved = async (from: string): Promise<void> => {
  if (!(await isThere(from))) return;
  const to = `${from}.moved`;
  if (await isThere(to))
    throw new TidemarkError('invalid-option', `${to} is in the way: remove or rename it`);
  await rename(from, to);
};

/**
 * Puts an input aside in favour of another NATS, while nobody has the folder open; nothing is deleted. Rejects
 * with `folder-in-use`.
 */
export const leaveInput = async (settings: Settings, place: InputPlace): Promise<void> => {
  const folder = settings.needed('folder');
  const release = await holdStore(folder);
  try {
    if (place === 'managed') {
      if (settings.tenants !== undefined)
        throw new TidemarkError(
          'invalid-option',
          'the nats-server of this configuration holds the input of several tenants: take a backup, and restore it with the other NATS configured',
        );
      await moved(managedNatsFolder(settings));
    }
    if (place === 'folder') {
      await moved(path.join(folder, 'input'));
      await moved(path.join(folder, 'input.marker'));
    }
    // Until the other NATS is open nobody must take the folder for one without any input.
    if (settings.list('nats.servers') !== undefined && (await isThere(folder)))
      await writeWhole(
        path.join(folder, noteFile),
        `${JSON.stringify({ format: 1, input: 'nats' })}\n`,
      );
  } finally {
    await release();
  }
};

/** Holds the store of a folder against everybody else; resolves with the way to let go. Rejects with `folder-in-use`. */
export const holdStore = async (folder: string): Promise<() => Promise<void>> => {
  const { holdStoreFolder } = await import('@tidemark/store-level/node');
  return holdStoreFolder(folder);
};

/** Refuses an input that is not the folder's own. Throws `invalid-option`. */
export const requireSameInput = (place: InputPlace, wantsNats: boolean): void => {
  if (wantsNats && place === 'folder')
    throw new TidemarkError(
      'invalid-option',
      'the input of this server lies in its folder, not in NATS; `tidemark serve --move-input` moves on to NATS under a new incarnation',
    );
  if (wantsNats && place === 'managed')
    throw new TidemarkError(
      'invalid-option',
      'the input of this server lies in the nats-server that `serve` starts; `tidemark serve --move-input` moves on to the other one under a new incarnation',
    );
  if (!wantsNats && place === 'nats')
    throw new TidemarkError(
      'invalid-option',
      'the input of this server lies in NATS: set nats.servers, TIDEMARK_NATS or --nats',
    );
};
