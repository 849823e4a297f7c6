import { parseArgs } from 'node:util';

/** What a run of the benchmarks was asked for. */
export interface BenchOptions {
  readonly suites: readonly string[];
  /** Records of the server; undefined: each suite's own number. */
  readonly records: number | undefined;
  /** Timed runs of each case, of which the median counts. */
  readonly runs: number;
  readonly json: boolean;
  /** Compares with the committed baselines. */
  readonly check: boolean;
  /** Writes the results as the baselines. */
  readonly save: boolean;
  /** Address of a nats-server; undefined: server and device share a process. */
  readonly natsUrl: string | undefined;
  readonly natsPid: number | undefined;
}

const runsDefault = 3;

const whole = (name: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text.replaceAll('_', ''));
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`--${name} is a whole number from 1 on, not ${text}`);
  return value;
};

/** Reads the arguments; throws a RangeError or a TypeError that says what is wrong with them. */
export const readOptions = (args: readonly string[]): BenchOptions => {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      records: { type: 'string' },
      runs: { type: 'string' },
      json: { type: 'boolean' },
      check: { type: 'boolean' },
      save: { type: 'boolean' },
      nats: { type: 'string' },
      'nats-pid': { type: 'string' },
    },
  });
  return {
    suites: positionals,
    records: whole('records', values.records),
    runs: whole('runs', values.runs) ?? runsDefault,
    json: values.json ?? false,
    check: values.check ?? false,
    save: values.save ?? false,
    natsUrl: values.nats,
    natsPid: whole('nats-pid', values['nats-pid']),
  };
};
