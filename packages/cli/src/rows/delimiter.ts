import { UsageError } from '../failure.js';

/** Delimiter of CSV that an option names; a comma when left out. Throws UsageError. */
export const delimiterOf = (given: string | undefined): string => {
  if (given === undefined) return ',';
  if (given.length === 1 && !/["\r\n]/.test(given)) return given;
  throw new UsageError('--delimiter is one character, no quote and no end of a line');
};
