/** What a process has used so far. */
export interface Usage {
  /** Greatest memory since the count was set back, or of the whole life where that is not possible. */
  readonly peakRssMb: number;
  readonly cpuSeconds: number;
}

/** Share of the processor time that one function took itself, without what it called. */
export interface HotFunction {
  readonly name: string;
  readonly place: string;
  readonly percent: number;
}
