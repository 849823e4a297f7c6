import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { resultsFolder, type Machine } from '../harness/results-file.js';
import type { PeerFacts } from './roles.js';
import type { PeerResult } from './workloads.js';

/** What `npm run bench:peers -- --save` keeps: medians of the runs of each engine and workload. */
export interface PeersFile {
  readonly machine: Machine & {
    /** Greatest load average of a minute that was met; the bench itself makes about 1 of it. */
    readonly loadAverageMax: number;
  };
  readonly runs: number;
  readonly results: readonly PeerResult[];
  readonly facts: Readonly<Record<string, PeerFacts>>;
  /** Why engines are missing, by their names. */
  readonly skipped: Readonly<Record<string, string>>;
}

// Beside the results of the suites, which have another shape.
const file = path.join(resultsFolder, 'peers', 'peers.json');

/** Joins the runs of each engine and workload: the median time, the greatest peaks, verified only if every run was. */
export const joinRuns = (runs: readonly PeerResult[]): readonly PeerResult[] => {
  const groups = new Map<string, PeerResult[]>();
  for (const run of runs) {
    const key = `${run.peer}/${run.workload}`;
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  return [...groups.values()].map((group) => {
    const byTime = [...group].sort((a, b) => a.seconds - b.seconds);
    const median = byTime[Math.floor((byTime.length - 1) / 2)] as PeerResult;
    const peak = (of: 'device' | 'server'): number =>
      Math.max(...group.map((one) => one.rssMb[of]));
    return {
      ...median,
      rssMb: { device: peak('device'), server: peak('server') },
      verified: group.every(({ verified }) => verified),
    };
  });
};

/** Replaces the committed results. */
export const savePeers = (kept: PeersFile): void => {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
};

/** Reads the committed results; undefined when there are none. */
export const readPeers = (): PeersFile | undefined =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as PeersFile) : undefined;
