import type { BenchOptions } from './options.js';
import { resultOf, type BenchResult, type Sample } from './result.js';
import { BenchWorld } from './world.js';

/** One thing that users wait for, measured in several cases. */
export interface Suite {
  readonly name: string;
  readonly run: (bench: Bench) => Promise<void>;
}

interface Measured {
  /** One run; preparing and verifying stay outside its seconds. */
  readonly sample: () => Promise<Sample>;
  /** The plain program, in seconds. */
  readonly floor?: () => Promise<number>;
}

/** Runs of one suite: each case is warmed up once, then sampled in turn with its floor. */
export class Bench {
  readonly options: BenchOptions;
  readonly results: BenchResult[] = [];
  readonly #suite: string;
  readonly #told: (one: BenchResult) => void;

  constructor(suite: string, options: BenchOptions, told: (one: BenchResult) => void) {
    this.#suite = suite;
    this.options = options;
    this.#told = told;
  }

  /** Does something in a world of its own, which is removed afterwards. */
  async inWorld<T>(work: (world: BenchWorld) => Promise<T>): Promise<T> {
    const world = await BenchWorld.open(this.options);
    try {
      return await work(world);
    } finally {
      await world.close();
    }
  }

  async measure(
    named: Pick<BenchResult, 'case' | 'records' | 'moved'>,
    { sample, floor }: Measured,
  ): Promise<void> {
    await sample();
    const samples: Sample[] = [];
    const floors: number[] = [];
    for (let run = 0; run < this.options.runs; run += 1) {
      samples.push(await sample());
      if (floor !== undefined) floors.push(await floor());
    }
    const transport = this.options.natsUrl === undefined ? 'local' : 'nats';
    const result = resultOf({ suite: this.#suite, transport, ...named }, samples, floors);
    this.results.push(result);
    this.#told(result);
  }
}
