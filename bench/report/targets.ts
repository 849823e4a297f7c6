import type { BenchResult } from '../harness/result.js';

/** What one case shall reach. */
export interface Target {
  readonly suite: string;
  readonly case: string;
  readonly what: string;
  readonly unit: string;
  readonly of: (one: BenchResult, all: readonly BenchResult[]) => number | null;
  readonly wanted: number;
  readonly better: 'more' | 'less';
}

const setting =
  (name: string) =>
  (one: BenchResult): number | null => {
    const value = one.settings[name];
    return typeof value === 'number' ? value : null;
  };
/** Times as long as the case that it is compared with. */
const timesAsLong = (one: BenchResult): number | null =>
  one.ratio === null ? null : 1 / one.ratio.value;
const timesTheFloor = (one: BenchResult): number | null =>
  one.shareOfFloor === null ? null : 1 / one.shareOfFloor;
const perSecond = (one: BenchResult): number => one.perSecond;
const seconds = (one: BenchResult): number => one.seconds;
/** Operations per second, compared with those of one device of as many records. */
const ofUniform = (one: BenchResult, all: readonly BenchResult[]): number | null => {
  const other = all.find(
    ({ suite, case: name, records }) =>
      suite === 'upload-merge' && name === 'uniform-100k' && records === one.records,
  );
  return other === undefined ? null : one.perSecond / other.perSecond;
};
const rssDevice = (one: BenchResult): number => one.peakRssMb.device;
const rssServer = (one: BenchResult): number => one.peakRssMb.server;

const more = (
  [suite, name]: readonly [string, string],
  what: string,
  unit: string,
  of: Target['of'],
  wanted: number,
): Target => ({ suite, case: name, what, unit, of, wanted, better: 'more' });

const less = (...args: Parameters<typeof more>): Target => ({ ...more(...args), better: 'less' });

const firstSync = ['full-sync', 'first sync'] as const;
const uniform = ['upload-merge', 'uniform-1m'] as const;
const conflicts = ['upload-merge', 'conflicts-10'] as const;
const inTransactions = ['local-edits', 'transactions of 100'] as const;
const nothing = ['incremental', '0 changed'] as const;
const crowdUpload = ['devices', 'upload'] as const;
const many = ['devices', 'pull after foreign changes, many'] as const;
const restart = ['devices', 'server restart'] as const;

/** The targets, at a million records, in the order of their weight. */
export const targets: readonly Target[] = [
  more(firstSync, 'records', 'per s', perSecond, 200_000),
  more(firstSync, 'share of the page floor', '', (one) => one.shareOfFloor, 0.5),
  less(firstSync, 'memory of the device', 'MB', rssDevice, 250),
  less(firstSync, 'memory of the server', 'MB', rssServer, 400),
  less(firstSync, 'first record readable', 's', setting('firstReadableSeconds'), 1),
  less(['full-sync', 'first sync, two indexes'], 'of the time without', 'times', timesAsLong, 2.5),
  more(uniform, 'operations', 'per s', perSecond, 80_000),
  less(uniform, 'memory of the server', 'MB', rssServer, 700),
  more(['upload-merge', 'uniform-100k'], 'operations', 'per s', perSecond, 40_000),
  more(['upload-merge', 'hot-set'], 'operations', 'per s', perSecond, 120_000),
  less(conflicts, 'of the time without', 'times', timesAsLong, 1.5),
  less(nothing, 'a sync', 's', seconds, 0.02),
  ...['1 changed', '100 changed', '5000 changed'].map((name) =>
    less(['incremental', name], 'of the time at 10,000 records', 'times', timesAsLong, 1.3),
  ),
  more(['local-edits', 'one by one'], 'edits', 'per s', perSecond, 12_000),
  more(inTransactions, 'operations', 'per s', perSecond, 60_000),
  more(
    ['local-edits', '100 writers, disk'],
    'of the speed of `os`',
    'times',
    (one) => one.ratio?.value ?? null,
    0.7,
  ),
  less(['local-edits', 'live query'], 'until an edit is seen', 's', seconds, 0.002),
  less(['cold-start', 'server'], 'until it answers', 's', seconds, 2),
  more(['cold-start', 'rebuild'], 'operations', 'per s', perSecond, 80_000),
  less(['cold-start', 'device with 20,000 pending'], 'until it is open', 's', seconds, 0.5),
  more(crowdUpload, 'of the rate of `uniform-100k`', 'times', ofUniform, 0.5),
  less(['devices', 'small sync, p99'], 'a small sync, p99', 's', seconds, 2),
  less(many, 'of the cost after few', 'times', timesAsLong, 1.5),
  less(restart, 'until all have pulled', 's', seconds, 60),
  less(restart, 'memory of the server', 'MB', rssServer, 400),
  less(['text', 'apply'], 'of bare Automerge', 'times', timesTheFloor, 1.5),
  less(['text', 'converge'], 'of bare Automerge', 'times', timesTheFloor, 4),
];
