import { epochOfIndex, type ReplicaMeta } from './replica-meta.js';

/** Part of the log that counts under one replica id and epoch; the last part has no end. */
export interface LogRun {
  readonly replica: string;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
}

/** Parts of the log in order: what a clone shares with its origin counts as the origin's. */
export const logRuns = (meta: ReplicaMeta): readonly LogRun[] => {
  const { origins, epochStarts } = meta;
  const places = [
    ...epochStarts.map(([, from]) => from),
    ...origins.map((one) => one.lastIndex + 1),
  ];
  const starts = [...new Set([1, ...places])].sort((a, b) => a - b);
  return starts.map((from, at) => {
    // A later origin that shares less ends what earlier ones share.
    let replica = meta.replica;
    for (const origin of [...origins].reverse()) {
      if (from > origin.lastIndex) break;
      replica = origin.replica;
    }
    const to = (starts[at + 1] ?? Infinity) - 1;
    return { replica, epoch: epochOfIndex(meta, from), from, to };
  });
};

/** Part of the log that holds an operation. */
export const runOfIndex = (meta: ReplicaMeta, index: number): LogRun =>
  logRuns(meta).find(({ to }) => index <= to) as LogRun;
