import { parseArgs } from 'node:util';

/** What a run of the benchmarks was asked for. */
export interface BenchOptions {
  readonly suites: readonly string[];
  /** Cases that are run; all when empty. */
  readonly cases: readonly string[];
  /** Records of the server; undefined: each suite's own number. */
  readonly records: number | undefined;
  /** Timed runs of each case, of which the median counts. */
  readonly runs: number;
  readonly json: boolean;
  /** Compares with the committed baselines. */
  readonly check: boolean;
  /** Writes the results as the baselines. */
  readonly save: boolean;
  /** Folder of other baselines than the committed ones. */
  readonly baselines: string | undefined;
  /** Adds cases over real records. */
  readonly flights: boolean;
  /** Tells which functions took the processor's time. */
  readonly profile: boolean;
  /** File that the results are added to, with what the machine is. */
  readonly out: string | undefined;
  /** Writes the page of results from the files of results, and runs nothing. */
  readonly report: boolean;
  /** Address of a nats-server; undefined: server and device share a process. */
  readonly natsUrl: string | undefined;
  readonly natsPid: number | undefined;
  readonly natsVersion: string | undefined;
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
      case: { type: 'string', multiple: true },
      records: { type: 'string' },
      runs: { type: 'string' },
      json: { type: 'boolean' },
      check: { type: 'boolean' },
      save: { type: 'boolean' },
      baselines: { type: 'string' },
      data: { type: 'string' },
      profile: { type: 'boolean' },
      out: { type: 'string' },
      report: { type: 'boolean' },
      nats: { type: 'string' },
      'nats-pid': { type: 'string' },
      'nats-version': { type: 'string' },
    },
  });
  if (values.data !== undefined && values.data !== 'flights' && values.data !== 'crm')
    throw new RangeError(`--data is crm or flights, not ${values.data}`);
  return {
    suites: positionals,
    cases: values.case ?? [],
    records: whole('records', values.records),
    runs: whole('runs', values.runs) ?? runsDefault,
    json: values.json ?? false,
    check: values.check ?? false,
    save: values.save ?? false,
    baselines: values.baselines,
    flights: values.data === 'flights',
    profile: values.profile ?? false,
    out: values.out,
    report: values.report ?? false,
    natsUrl: values.nats,
    natsPid: whole('nats-pid', values['nats-pid']),
    natsVersion: values['nats-version'],
  };
};
