import { readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { Settings } from '../config/settings.js';
import { writeWhole } from '../state-file.js';
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

/** Notes in the folder that its input lies in NATS. */
export const noteNatsInput = async (folder: string): Promise<void> => {
  const file = path.join(folder, noteFile);
  if (!(await isThere(file)))
    await writeWhole(file, `${JSON.stringify({ format: 1, input: 'nats' })}\n`);
};

const moved = async (from: string): Promise<void> => {
  if (!(await isThere(from))) return;
  const to = `${from}.moved`;
  if (await isThere(to))
    throw new TidemarkError('invalid-option', `${to} is in the way: remove or rename it`);
  await rename(from, to);
};

/** Puts an input aside in favour of another NATS; nothing is deleted. */
export const leaveInput = async (settings: Settings, place: InputPlace): Promise<void> => {
  const folder = settings.needed('folder');
  if (place === 'managed') {
    if (settings.tenants !== undefined)
      throw new TidemarkError(
        'invalid-option',
        'the nats-server of this configuration holds the input of several tenants: take a backup, and restore it with the other NATS configured',
      );
    await moved(managedNatsFolder(settings));
  }
  if (place !== 'folder') return;
  await moved(path.join(folder, 'input'));
  await moved(path.join(folder, 'input.marker'));
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
