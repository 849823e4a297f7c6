import { loadavg } from 'node:os';
import type { Spent } from './world.js';

/** One case of a suite; a line of JSON with `--json`. Seconds are the median of the runs. */
export interface BenchResult extends Spent {
  readonly suite: string;
  readonly case: string;
  readonly transport: 'nats' | 'local';
  /** Records of the server. */
  readonly records: number;
  /** Records or operations that the timed part moved. */
  readonly moved: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Seconds of a plain program that moves and writes the same bytes; null where there is none. */
  readonly floorSeconds: number | null;
  /** `floorSeconds / seconds`: 1 is as fast as the plain program. */
  readonly shareOfFloor: number | null;
  /** Seconds of another case of the suite divided by those of this one, where the two are compared. */
  readonly ratio: { readonly against: string; readonly value: number } | null;
  readonly wireBytes: number | null;
  /** True when the results were compared afterwards, outside the timed part, and were right. */
  readonly verified: boolean;
  readonly settings: Readonly<Record<string, string | number>>;
}

/** What a suite measured in one run of a case. */
export interface Sample extends Spent {
  readonly seconds: number;
  readonly wireBytes: number | null;
  readonly verified: boolean;
  readonly settings?: Readonly<Record<string, string | number>>;
}

const middle = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
};

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

type Named = Pick<BenchResult, 'suite' | 'case' | 'transport' | 'records' | 'moved'>;

/** Joins the runs of a case: median of the times, greatest of the peaks, verified only if every run was. */
export const resultOf = (
  named: Named,
  samples: readonly Sample[],
  floors: readonly number[],
  other?: BenchResult,
): BenchResult => {
  const seconds = middle(samples.map((one) => one.seconds));
  const floor = floors.length === 0 ? null : middle(floors);
  const shown =
    samples.find((one) => one.seconds === seconds) ?? (samples[0] as Sample | undefined);
  if (shown === undefined) throw new Error(`${named.suite} ${named.case} was never run`);
  const most = (of: (one: Sample) => number): number => Math.max(...samples.map(of));
  return {
    ...named,
    seconds: round(seconds, 4),
    perSecond: Math.round(named.moved / seconds),
    floorSeconds: floor === null ? null : round(floor, 4),
    shareOfFloor: floor === null ? null : round(floor / seconds, 3),
    ratio:
      other === undefined
        ? null
        : {
            against:
              other.records === named.records ? other.case : `${other.case}, ${other.records}`,
            value: round(other.seconds / seconds, 3),
          },
    peakRssMb: {
      device: most((one) => one.peakRssMb.device),
      server: most((one) => one.peakRssMb.server),
    },
    cpuSeconds: shown.cpuSeconds,
    wireBytes: shown.wireBytes,
    verified: samples.every((one) => one.verified),
    settings: {
      runs: samples.length,
      durability: 'os',
      // Of the last minute; the bench itself makes about 1 of it.
      loadAverage: round(loadavg()[0] ?? 0, 1),
      ...shown.settings,
    },
  };
};

/** Line for a person. */
export const printResult = (one: BenchResult): string => {
  const floor =
    one.shareOfFloor === null ? '' : `, ${(one.shareOfFloor * 100).toFixed(0)}% of the floor`;
  const ratio = one.ratio === null ? '' : `, ${one.ratio.value} of ${one.ratio.against}`;
  const { device, server } = one.peakRssMb;
  return (
    `${one.suite} ${one.case}, ${one.records} records over ${one.transport}: ` +
    `${one.seconds.toFixed(3)} s, ${one.perSecond}/s${floor}${ratio}, ` +
    `rss ${device} MB device, ${server} MB server${one.verified ? '' : '  NOT VERIFIED'}`
  );
};
