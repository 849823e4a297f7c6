import { InvariantViolation, TidemarkError } from '@tidemark/model';

/**
 * Reads bytes that this engine stored. Where they have another form, files were damaged or belong to something
 * else: that is `storage-damaged`, never an exception of the parser.
 */
export const storedForm = <A>(what: string, read: () => A): A => {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof TidemarkError || cause instanceof InvariantViolation) throw cause;
    throw damagedForm(what, cause);
  }
};

/** Failure for stored bytes of another form. */
export const damagedForm = (what: string, cause?: unknown): TidemarkError =>
  new TidemarkError('storage-damaged', `${what} has another form`, {}, cause);

/** Refuses bytes whose first one names a format that this program does not know, with `newer-format`. */
export const checkedFormat = (what: string, bytes: Uint8Array, newest: number): void => {
  const format = bytes[0] ?? 0;
  if (format > newest)
    throw new TidemarkError('newer-format', `${what} is of a newer format`, { format, newest });
  if (format === 0) throw damagedForm(what);
};
