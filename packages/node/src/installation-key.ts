import { randomBytes } from 'node:crypto';
import { chmod, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromHex, TidemarkError } from '@tidemark/model';

const keyBytes = 32;
const fileName = 'replica.key';

const isCode = (cause: unknown, code: string): boolean =>
  cause instanceof Error && 'code' in cause && cause.code === code;

const create = async (path: string): Promise<void> => {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(`${randomBytes(keyBytes).toString('hex')}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/**
 * Secret of the installation in a replica's folder, made at the first call and readable by its user only. The keys
 * of the folder's replicas are derived from it: a copy of the folder has the same secret, takes a new replica id,
 * and signs for it with the key of the old one. Rejects with `storage-unavailable`, `storage-damaged`.
 */
export const openInstallationKey = async (folder: string): Promise<Uint8Array> => {
  const path = join(folder, fileName);
  try {
    await create(path);
  } catch (cause) {
    if (!isCode(cause, 'EEXIST'))
      throw new TidemarkError('storage-unavailable', `${fileName} cannot be written`, {}, cause);
  }
  // A file that came with a copy may have lost its mode.
  if (process.platform !== 'win32') await chmod(path, 0o600).catch(() => undefined);
  const key = fromHex((await readFile(path, 'utf8')).trim());
  if (key?.length !== keyBytes)
    throw new TidemarkError('storage-damaged', `${fileName} does not hold 32 bytes`);
  return key;
};
