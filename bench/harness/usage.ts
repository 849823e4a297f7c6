/** What a process has used so far. */
export interface Usage {
  readonly peakRssMb: number;
  readonly cpuSeconds: number;
}
