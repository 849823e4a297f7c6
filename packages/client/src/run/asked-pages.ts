/** Pages that were asked for and are on their way. */
export interface AskedPages<A> {
  readonly begunMs: number;
  readonly maxBytes: number;
  readonly answer: Promise<A>;
}
