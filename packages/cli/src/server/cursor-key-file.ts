import { createHmac, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { fromHex, TidemarkError } from '@tidemark/model';
import type { Settings } from '../config/settings.js';

const keyBytes = 32;

/** Writes a new key into a file that only its user may read. Rejects with `invalid-option` when it exists. */
export const writeCursorKeyFile = async (file: string): Promise<void> => {
  try {
    await writeFile(file, `${randomBytes(keyBytes).toString('hex')}\n`, {
      flag: 'wx',
      mode: 0o600,
    });
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause;
    throw new TidemarkError(
      'invalid-option',
      `${file} exists: a key that servers use is never replaced by chance`,
    );
  }
};

/**
 * Key of cursors of the tenant, from the configured file: each tenant has its own, made from that of the
 * file. Undefined when none is configured: then the folder has one. Rejects with `invalid-option`.
 */
export const cursorKeyOf = async (settings: Settings): Promise<Uint8Array | undefined> => {
  const file = settings.text('cursorKey');
  if (file === undefined) return undefined;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new TidemarkError(
      'invalid-option',
      `the key of cursors ${file} cannot be read: \`tidemark key\` writes one, for all servers of the tenant`,
      { option: 'cursorKey' },
      cause,
    );
  }
  const key = fromHex(text.trim());
  if (key?.length !== keyBytes)
    throw new TidemarkError('invalid-option', `${file} does not hold 64 hexadecimal digits`, {
      option: 'cursorKey',
    });
  const own = createHmac('sha256', key).update(`tidemark cursors of ${settings.needed('tenant')}`);
  return new Uint8Array(own.digest());
};
