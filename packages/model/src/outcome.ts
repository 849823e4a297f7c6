/**
 * Immutable verdict on an operation at merge. `combined`: both sides' edits live on (counter, CRDT);
 * `same`: the server had the value already; `superseded`: a rule kept the server's value.
 */
export type Outcome = 'applied' | 'combined' | 'same' | 'superseded' | 'parked' | 'rejected';

/** What later resolutions made of a parked operation. */
export type Disposition = 'applied' | 'superseded' | 'ignored';

/** Server's word to a replica about its log. Heads are hexadecimal. */
export interface Receipt {
  readonly incarnation: number;
  readonly epoch: number;
  /** Index of the last operation that was decided. */
  readonly mergedTo: number;
  /** Chain head at `mergedTo`. */
  readonly head: string;
  /** Server version (n) that includes it. */
  readonly version: number;
  /** Operations up to here are in a checkpoint outside the store's folder: the replica may drop them. */
  readonly archivedTo: number;
  /** Signature of the tenant's receipt key (base64), and the id of that key. */
  readonly signature?: string;
  readonly keyId?: string;
}
