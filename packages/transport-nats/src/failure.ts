import { InvariantViolation, TidemarkError } from '@tidemark/model';

const nameOf = (cause: unknown): string => (cause instanceof Error ? cause.name : '');

const chainOf = (cause: unknown): readonly unknown[] => {
  const chain: unknown[] = [];
  let current = cause;
  // nats-core wraps a failure once; four steps are allowed.
  for (let depth = 0; depth < 4 && current instanceof Error; depth += 1) {
    chain.push(current);
    current = current.cause;
  }
  return chain;
};

/** Tells whether nobody listens on the subject of a request. */
export const isNoResponders = (cause: unknown): boolean =>
  chainOf(cause).some((one) => nameOf(one) === 'NoRespondersError');

/** Failure that says that nobody listens. */
export const noRespondersFailure = (): Error => {
  const error = new Error('nobody listens on the subject');
  error.name = 'NoRespondersError';
  return error;
};

/** Tells whether an answer did not come in time. */
export const isTimeout = (cause: unknown): boolean =>
  chainOf(cause).some((one) => nameOf(one) === 'TimeoutError');

const isRefusedCredential = (cause: unknown): boolean =>
  chainOf(cause).some((one) =>
    ['AuthorizationError', 'UserAuthenticationExpiredError', 'PermissionViolationError'].includes(
      nameOf(one),
    ),
  );

/**
 * Turns a failure of a connection into a TidemarkError; those, and bugs, pass unchanged. What cannot be
 * told is `unreachable`: whoever asked tries again, and duplicates have no effect.
 */
export const connectionFailure = (cause: unknown): Error => {
  if (cause instanceof TidemarkError || cause instanceof InvariantViolation) return cause;
  if (isTimeout(cause))
    return new TidemarkError('timeout', 'the server did not answer in time', {}, cause);
  if (isRefusedCredential(cause))
    return new TidemarkError('denied', 'NATS refused the credential or the subject', {}, cause);
  return new TidemarkError('unreachable', 'the server cannot be reached', {}, cause);
};

/** Reason why a stream did not store a message. */
export type Refusal = 'full' | 'other-generation' | 'wrong-sequence' | 'missing' | 'unknown';

const streamNotFound = 10_059;
const reasons: ReadonlyMap<number, Refusal> = new Map([
  [10_109, 'other-generation'],
  [10_060, 'other-generation'],
  [10_071, 'wrong-sequence'],
  [10_164, 'wrong-sequence'],
  [streamNotFound, 'missing'],
  [10_023, 'full'],
  [10_047, 'full'],
]);

/** Number by which JetStream says that it could not store; the text tells why. */
const storeFailed = 10_077;

/** Reads JetStream's number and text of a refusal. */
export const refusalOf = (code: number, text: string): Refusal => {
  if (code === storeFailed) return /maximum|exceed|space/i.test(text) ? 'full' : 'unknown';
  return reasons.get(code) ?? 'unknown';
};

/** Failure for a message that a stream refused. */
export const refusalFailure = (refusal: Refusal, code: number): TidemarkError => {
  if (refusal === 'full')
    return new TidemarkError('input-full', 'the input of the server has no space left', { code });
  return new TidemarkError('unreachable', 'the input of the server refused a message', { code });
};
