/** Pages that were asked for and are on their way. */
export interface AskedPages<A> {
  readonly begunMs: number;
  readonly maxBytes: number;
  /** Resolves when the answer is here, packed perhaps. */
  readonly came: Promise<unknown>;
  /** Opens the answer, once for all calls: it is then held as it is unpacked. */
  readonly open: () => Promise<A>;
}
