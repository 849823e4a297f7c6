/**
 * Hybrid logical clock reading: wall time in milliseconds and a counter for equal times.
 *
 * It orders the operations of one replica and what people see; no merge rule reads the counter.
 * Source: Kulkarni et al., "Logical Physical Clocks", 2014.
 */
export interface Hlc {
  readonly wallMs: number;
  readonly counter: number;
}

/** Reading before any other. */
export const zeroHlc: Hlc = { wallMs: 0, counter: 0 };

/** Next reading at wall time `nowMs`: strictly greater than `previous`, also when the clock went back. */
export const tickHlc = (previous: Hlc, nowMs: number): Hlc =>
  nowMs > previous.wallMs
    ? { wallMs: nowMs, counter: 0 }
    : { wallMs: previous.wallMs, counter: previous.counter + 1 };

/** Orders readings by wall time, then counter. */
export const compareHlc = (a: Hlc, b: Hlc): number => a.wallMs - b.wallMs || a.counter - b.counter;
