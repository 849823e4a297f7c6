import { deepStrictEqual, doesNotThrow, notStrictEqual, strictEqual, throws } from 'node:assert';
import { createRequire } from 'node:module';
import { afterAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../convergence/seeded-random.js';
import { Life, Scheduler } from '../simulation/scheduler.js';
import { SimDisk } from '../simulation/sim-disk.js';
import { SimLevel, type SimLevelOptions } from '../simulation/sim-level.js';

const require = createRequire(import.meta.url);

interface SuiteOptions {
  readonly test: (name: string, ...rest: readonly unknown[]) => void;
  readonly factory: (options?: SimLevelOptions) => SimLevel;
}
const suite = require('abstract-level/test') as (options: SuiteOptions) => void;

/** Assertions that the suite made. */
let assertions = 0;
/** Least number of assertions of the suite of abstract-level 3.1 on such a database. */
const assertionsMin = 3_000;

/** What the suite asks of its test library, on the assertions of Node. */
class SuiteCase {
  readonly #children: (() => Promise<void>)[] = [];
  #planned: number | undefined;
  #made = 0;
  #end: () => void = () => undefined;
  readonly #ended: Promise<void>;
  #isEnded = false;

  constructor() {
    this.#ended = new Promise((resolve) => {
      this.#end = () => {
        this.#isEnded = true;
        resolve();
      };
    });
  }

  /** Runs a case as the suite's library does: until its promise, its `end` or its plan is over. */
  static async run(work: (t: SuiteCase) => unknown): Promise<void> {
    const t = new SuiteCase();
    const result = work(t);
    if (result instanceof Promise) await result;
    for (const child of t.#children) await child();
    if (t.#planned !== undefined) {
      if (t.#made < t.#planned) await t.#ended;
      strictEqual(t.#made, t.#planned, 'assertions made are those planned');
    } else if (!(result instanceof Promise) && t.#children.length === 0 && !t.#isEnded)
      await t.#ended;
  }

  plan(count: number): void {
    this.#planned = count;
  }
  end(): void {
    this.#end();
  }
  test(_name: string, work: (t: SuiteCase) => unknown): void {
    this.#children.push(() => SuiteCase.run(work));
  }
  is(actual: unknown, expected: unknown, message?: string): void {
    strictEqual(actual, expected, message);
    this.#count();
  }
  isNot(actual: unknown, expected: unknown, message?: string): void {
    notStrictEqual(actual, expected, message);
    this.#count();
  }
  same(actual: unknown, expected: unknown, message?: string): void {
    deepStrictEqual(actual, expected, message);
    this.#count();
  }
  ok(value: unknown, message?: string): void {
    strictEqual(Boolean(value), true, message);
    this.#count();
  }
  pass(): void {
    this.#count();
  }
  fail(message?: unknown): void {
    throw message instanceof Error ? message : new Error(`failed: ${String(message)}`);
  }
  throws(work: () => unknown, expected?: unknown): void {
    if (expected instanceof RegExp) throws(work, expected);
    else throws(work);
    this.#count();
  }
  doesNotThrow(work: () => unknown): void {
    doesNotThrow(work);
    this.#count();
  }

  #count(): void {
    assertions += 1;
    this.#made += 1;
    if (this.#made === this.#planned) this.#end();
  }
}

const freeLife = (): Life => {
  const scheduler = new Scheduler(0, new SeededRandom(1));
  scheduler.runFreely();
  return new Life('suite', scheduler);
};

describe('[SIM-10] the simulated disk is a database: the suite of abstract-level', () => {
  suite({
    test: (name, ...rest) => {
      const work = rest[rest.length - 1] as (t: SuiteCase) => unknown;
      test(name, () => SuiteCase.run(work));
    },
    factory: (options = {}) =>
      new SimLevel(new SimDisk('suite', new SeededRandom(1)), freeLife(), options),
  });
  afterAll(() => {
    expect(assertions).toBeGreaterThan(assertionsMin);
  });
});
