import { TidemarkError } from '@tidemark/model';

/**
 * Number of entries to list: what is asked for, or `most` when nothing or more is. Throws `invalid-option`
 * for what is no whole number from 0 on: a list cut elsewhere than asked would not be noticed.
 */
export const listLimit = (asked: number | undefined, most: number): number => {
  if (asked === undefined) return most;
  if (!Number.isSafeInteger(asked) || asked < 0)
    throw new TidemarkError('invalid-option', 'limit is a whole number from 0 on', {
      option: 'limit',
    });
  return Math.min(asked, most);
};
