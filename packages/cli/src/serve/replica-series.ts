/** Series by replica that `/metrics` shows; the others are summed up under `other`. */
export const replicaSeriesMax = 500;
/** Replicas of a tenant whose newest run is remembered. */
export const replicaRunsMax = 10_000;

/** What the newest run of a replica left. */
export interface LastRun {
  readonly replica: string;
  readonly endedOnMs: number;
  readonly pending: number;
}

/** A replica, or `other`, with its operations that are not uploaded. */
export interface PendingSeries {
  readonly tenant: string;
  readonly replica: string;
  readonly pending: number;
}

/** Newest runs of the replicas of one tenant, the oldest forgotten first. */
export class LastRuns {
  readonly #runs = new Map<string, LastRun>();

  note(run: LastRun): void {
    const known = this.#runs.get(run.replica);
    if (known !== undefined && known.endedOnMs > run.endedOnMs) return;
    // Noted anew, it is the last one to be forgotten.
    this.#runs.delete(run.replica);
    this.#runs.set(run.replica, run);
    const [oldest] = this.#runs.keys();
    if (this.#runs.size > replicaRunsMax && oldest !== undefined) this.#runs.delete(oldest);
  }

  all(): readonly LastRun[] {
    return [...this.#runs.values()];
  }
}

/** Series of all tenants: those with the most pending operations by replica, the rest summed by tenant. */
export const pendingSeries = (
  runs: ReadonlyMap<string, LastRuns>,
  max = replicaSeriesMax,
): readonly PendingSeries[] => {
  const all = [...runs].flatMap(([tenant, last]) =>
    last.all().map(({ replica, pending }) => ({ tenant, replica, pending })),
  );
  all.sort((a, b) => b.pending - a.pending || (a.replica < b.replica ? -1 : 1));
  const others = new Map<string, number>();
  for (const { tenant, pending } of all.slice(max))
    others.set(tenant, (others.get(tenant) ?? 0) + pending);
  return [
    ...all.slice(0, max),
    ...[...others].map(([tenant, pending]) => ({ tenant, replica: 'other', pending })),
  ];
};
