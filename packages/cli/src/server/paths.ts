import { stat } from 'node:fs/promises';

/** True when a path exists. */
export const isThere = async (file: string): Promise<boolean> => {
  try {
    await stat(file);
    return true;
  } catch {
    return false;
  }
};
