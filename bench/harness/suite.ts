import type { BenchOptions } from './options.js';
import { resultOf, type BenchResult, type Sample } from './result.js';
import { BenchWorld, type Profiles } from './world.js';

/** One thing that users wait for, measured in several cases. */
export interface Suite {
  readonly name: string;
  readonly run: (bench: Bench) => Promise<void>;
}

/** Which run of a case it is, those that warm up included. */
export interface Turn {
  readonly run: number;
  /** True for the last run, after which what is costly to check is checked, too. */
  readonly isLast: boolean;
}

interface Measured {
  /** One run; preparing and verifying stay outside its seconds. */
  readonly sample: (turn: Turn) => Promise<Sample>;
  /** The plain program, in seconds. */
  readonly floor?: () => Promise<number>;
  /** Case of this suite that this one is compared with: its seconds divided by the seconds of this one. */
  readonly against?: { readonly case: string; readonly records?: number };
}

/** A run that takes longer than this has warmed itself up: it counts as the first one. */
const warmSeconds = 10;
/** Time after which a case is warm, and the most runs that it warms up: one run of a short case compiles little of it. */
const warmUpSeconds = 0.5;
const warmUpsMax = 10;

/** Runs of one suite: each case is warmed up, then sampled in turn with its floor. */
export class Bench {
  readonly options: BenchOptions;
  readonly results: BenchResult[] = [];
  readonly #suite: string;
  readonly #told: (one: BenchResult) => void;
  readonly #note: (line: string) => void;
  #case = '';

  constructor(
    suite: string,
    options: BenchOptions,
    told: (one: BenchResult) => void,
    note: (line: string) => void,
  ) {
    this.#suite = suite;
    this.options = options;
    this.#told = told;
    this.#note = note;
  }

  /** True for a case that was asked for. */
  wants(name: string): boolean {
    return this.options.cases.length === 0 || this.options.cases.includes(name);
  }

  /** Does something in a world of its own, which is removed afterwards. */
  async inWorld<T>(
    work: (world: BenchWorld) => Promise<T>,
    more: Pick<NonNullable<Parameters<typeof BenchWorld.open>[1]>, 'data' | 'hasCheckpoints'> = {},
  ): Promise<T> {
    const world = await BenchWorld.open(this.options, {
      ...more,
      told: (profiles) => this.#tellProfiles(profiles),
    });
    try {
      return await work(world);
    } finally {
      await world.close();
    }
  }

  #tellProfiles(profiles: Profiles): void {
    for (const [name, functions] of Object.entries(profiles))
      for (const one of functions as Profiles['server'])
        this.#note(
          `${this.#suite} ${this.#case} ${name} ${one.percent.toFixed(1).padStart(5)}% ${one.name} ${one.place}`,
        );
  }

  async measure(
    named: Pick<BenchResult, 'case' | 'records' | 'moved'>,
    { sample, floor, against }: Measured,
  ): Promise<void> {
    if (!this.wants(named.case)) return;
    this.#case = named.case;
    const samples: Sample[] = [];
    const floors: number[] = [];
    const { runs } = this.options;
    let run = 0;
    const warm = await sample({ run, isLast: false });
    if (warm.seconds > warmSeconds && runs > 1) samples.push(warm);
    for (let spent = warm.seconds; run + 1 < warmUpsMax && spent < warmUpSeconds;) {
      run += 1;
      spent += (await sample({ run, isLast: false })).seconds;
    }
    if (floor !== undefined && samples.length > 0) floors.push(await floor());
    while (samples.length < runs) {
      run += 1;
      samples.push(await sample({ run, isLast: samples.length === runs - 1 }));
      if (floor !== undefined) floors.push(await floor());
    }
    const transport = this.options.natsUrl === undefined ? 'local' : 'nats';
    const other =
      against === undefined
        ? undefined
        : this.results.find(
            (one) =>
              one.case === against.case && one.records === (against.records ?? named.records),
          );
    const result = resultOf({ suite: this.#suite, transport, ...named }, samples, floors, other);
    this.results.push(result);
    this.#told(result);
  }
}
