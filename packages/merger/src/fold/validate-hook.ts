import type { Value } from '@tidemark/model';

/** Operation as a validate hook sees it: by names. */
export interface ValidateOperation {
  readonly table: string;
  readonly record: string;
  readonly kind: 'create' | 'update' | 'delete';
  readonly set: Readonly<Record<string, Value>>;
  readonly increments: Readonly<Record<string, number>>;
  /** Names of text fields that are edited. */
  readonly texts: readonly string[];
}

/** Transaction as a validate hook sees it. */
export interface ValidateTransaction {
  readonly replica: string;
  readonly user: string;
  /** Server time in ms. */
  readonly now: number;
  readonly operations: readonly ValidateOperation[];
}

/** Records as they are just before the transaction, the earlier ones of its window included. */
export interface ValidateView {
  /** Fields of a live record by name, null when there is none. At most `validateReadsMax` calls. */
  readonly get: (table: string, id: string) => Promise<Readonly<Record<string, Value>> | null>;
}

/** What a hook may answer: nothing to accept, a message (no values; `hookMessageMax` of it is kept) to refuse. */
export type ValidateAnswer = undefined | null | string | { readonly message: string };

/**
 * Refuses transactions of devices by the application's own rules. It must be deterministic: a function of
 * the transaction and what it reads through the view. A throw stops the fold with `hook-failed`.
 */
export type ValidateHook = (
  transaction: ValidateTransaction,
  view: ValidateView,
) => ValidateAnswer | Promise<ValidateAnswer>;

/** Longest message of a refusal that is kept, in UTF-16 units: it travels in a sync error. */
export const hookMessageMax = 1_000;

/** Most reads of one call of a hook. */
export const validateReadsMax = 1_000;
