import { InvariantViolation, TidemarkError } from '@tidemark/model';

const codesOf = (error: unknown): readonly string[] => {
  const codes: string[] = [];
  let current: unknown = error;
  // LevelDB's own error is the cause of abstract-level's; two steps are known, four are allowed.
  for (let depth = 0; depth < 4 && typeof current === 'object' && current !== null; depth += 1) {
    if ('code' in current && typeof current.code === 'string') codes.push(current.code);
    current = 'cause' in current ? current.cause : undefined;
  }
  return codes;
};

const messagesOf = (error: unknown): string => {
  const messages: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < 4 && current instanceof Error; depth += 1) {
    messages.push(current.message);
    current = current.cause;
  }
  return messages.join(': ');
};

/** What LevelDB says of a table file that ends before the place where it reads. */
const cutTable = /\.(ldb|sst): Invalid argument/;

/** Tells whether an error of a database says that its files are damaged. */
export const isCorruption = (error: unknown): boolean =>
  codesOf(error).includes('LEVEL_CORRUPTION') ||
  /corrupt/i.test(messagesOf(error)) ||
  cutTable.test(messagesOf(error));

/** Tells whether an error of a database says that another process, or another handle, holds it. */
export const isLocked = (error: unknown): boolean => codesOf(error).includes('LEVEL_LOCKED');

const isBug = (error: unknown): error is Error =>
  error instanceof InvariantViolation ||
  (codesOf(error).length === 0 && (error instanceof TypeError || error instanceof RangeError));

/** Turns an error of a database into a TidemarkError; those, and bugs, pass unchanged. */
export const storageError = (error: unknown): Error => {
  if (error instanceof TidemarkError || isBug(error)) return error;
  if (isLocked(error))
    return new TidemarkError('folder-in-use', 'the database is held by another process', {}, error);
  if (isCorruption(error))
    return new TidemarkError('storage-damaged', 'the database reports corruption', {}, error);
  return new TidemarkError(
    'storage-unavailable',
    codesOf(error)[0] ?? 'the database refused the call',
    {},
    error,
  );
};

/** Awaits a call of a database and turns its failure into a TidemarkError. */
export const guarded = async <A>(call: () => Promise<A>): Promise<A> => {
  try {
    return await call();
  } catch (error) {
    throw storageError(error);
  }
};
