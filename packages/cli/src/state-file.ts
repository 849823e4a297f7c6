import { open, readFile, rename, rm } from 'node:fs/promises';
import { TidemarkError } from '@tidemark/model';

/** Writes a small file as a whole or not at all, and durably. */
export const writeWhole = async (file: string, text: string, mode = 0o666): Promise<void> => {
  const draft = `${file}.writing`;
  const handle = await open(draft, 'w', mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
};

/** Reads what `writeWhole` wrote; undefined when there is none. Rejects with `malformed-message`. */
export const readState = async (
  file: string,
): Promise<Readonly<Record<string, unknown>> | undefined> => {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
  try {
    const json = JSON.parse(text) as unknown;
    if (typeof json === 'object' && json !== null && 'format' in json && json.format === 1)
      return json as Readonly<Record<string, unknown>>;
  } catch {
    // Told below, with the same words as another format.
  }
  throw new TidemarkError('malformed-message', `${file} is no state of this command: remove it`);
};

/** Removes a state file; one that is not there is no failure. */
export const removeState = (file: string): Promise<void> => rm(file, { force: true });
