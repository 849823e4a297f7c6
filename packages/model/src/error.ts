import { errorCatalogue, type ErrorCode, type Recovery } from './error-codes.js';

/** Problem is one thing wrong with an input, at a path such as `tables.visits.fields[2].type`. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

/** Details hold ids, names and counts of a failure, never field values: values may be private. */
export type ErrorDetails = Readonly<
  Record<string, string | number | boolean | readonly string[] | readonly Problem[]>
>;

/** TidemarkError is the one error that the public functions reject with. */
export class TidemarkError extends Error {
  readonly _tag = 'TidemarkError';
  readonly code: ErrorCode;
  readonly recovery: Recovery;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(`${code}: ${message}`, cause === undefined ? undefined : { cause });
    this.name = 'TidemarkError';
    this.code = code;
    this.recovery = errorCatalogue[code].recovery;
    this.details = details;
  }
}

/** Builds a TidemarkError whose message lists every problem with its path. */
export const problemsError = (code: ErrorCode, problems: readonly Problem[]): TidemarkError =>
  new TidemarkError(
    code,
    problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; '),
    { problems },
  );

/** InvariantViolation is a bug of Tidemark. It is thrown, never returned, and stops the work at hand. */
export class InvariantViolation extends Error {
  readonly _tag = 'InvariantViolation';
}

/** Throws InvariantViolation unless the condition holds. Assertions stay on in production. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantViolation(message);
}
