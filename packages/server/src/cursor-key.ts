import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromHex, TidemarkError } from '@tidemark/model';

const keyBytes = 32;

/**
 * Reads the key that authenticates cursors from the server's folder, made at the first opening.
 *
 * It lies beside the store, so it outlives a store that is rebuilt; it is in no checkpoint. When it is lost
 * replicas repair by difference.
 */
export const openCursorKey = async (folder: string): Promise<Uint8Array> => {
  const path = join(folder, 'cursor.key');
  try {
    const fresh = randomBytes(keyBytes);
    await writeFile(path, `${fresh.toString('hex')}\n`, { flag: 'wx', mode: 0o600 });
    return new Uint8Array(fresh);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'))
      throw new TidemarkError('storage-unavailable', 'cursor.key cannot be written', {}, cause);
  }
  const key = fromHex((await readFile(path, 'utf8')).trim());
  if (key?.length !== keyBytes)
    throw new TidemarkError('storage-damaged', 'cursor.key does not hold 32 bytes');
  return key;
};
