/**
 * Result is either a failure (`Left`) or a value (`Right`).
 *
 * The shape equals fp-ts `Either`, so inside the packages fp-ts functions work on it as it is,
 * while published declarations stay free of fp-ts types.
 */
export type Result<E, A> =
  { readonly _tag: 'Left'; readonly left: E } | { readonly _tag: 'Right'; readonly right: A };

/** Builds the failed `Result`. */
export const left = <E>(value: E): Result<E, never> => ({ _tag: 'Left', left: value });

/** Builds the successful `Result`. */
export const right = <A>(value: A): Result<never, A> => ({ _tag: 'Right', right: value });

/** Tells whether a `Result` failed. */
export const isLeft = <E, A>(
  result: Result<E, A>,
): result is { readonly _tag: 'Left'; readonly left: E } => result._tag === 'Left';
