import type { Command } from 'commander';
import { loadSettings } from './config/load-settings.js';
import type { Settings } from './config/settings.js';
import { UsageError } from './failure.js';
import type { ExitCode } from './exit-code.js';
import type { Output } from './output.js';

/** What all commands of one invocation share. */
export interface Cli {
  readonly output: Output;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Fires when the user wants the command to end. */
  readonly signal: AbortSignal;
  /** Asks a person at the terminal; undefined where nobody sits. */
  readonly ask: ((question: string) => Promise<string>) | undefined;
  /** Runs the command and keeps its exit code. */
  readonly run: (work: () => Promise<ExitCode>) => Promise<void>;
}

/** Arguments and options of one call of a command. */
export class Call {
  readonly cli: Cli;
  readonly output: Output;
  readonly #args: readonly unknown[];
  readonly #options: Readonly<Record<string, unknown>>;

  constructor(cli: Cli, args: readonly unknown[], options: Readonly<Record<string, unknown>>) {
    this.cli = cli;
    this.output = cli.output;
    this.#args = args;
    this.#options = options;
  }

  /** Argument at a place; the parser has checked that required ones are there. */
  arg(at: number): string {
    const value = this.#args[at];
    return typeof value === 'string' ? value : '';
  }

  /** Argument at a place that may be left out. */
  optionalArg(at: number): string | undefined {
    const value = this.#args[at];
    return typeof value === 'string' ? value : undefined;
  }

  /** All arguments from a place on, of a command whose last argument repeats. */
  rest(at: number): readonly string[] {
    const value = this.#args[at];
    return Array.isArray(value) ? (value as readonly string[]) : [];
  }

  /** Option with a value. */
  text(name: string): string | undefined {
    const value = this.#options[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** Option that may be given several times. */
  list(name: string): readonly string[] {
    const value = this.#options[name];
    return Array.isArray(value) ? (value as readonly string[]) : [];
  }

  /** Option without a value. */
  isOn(name: string): boolean {
    return this.#options[name] === true;
  }

  /** Option that is a whole number. Throws UsageError. */
  count(name: string, fallback: number, bounds: { readonly min: number; readonly max: number }) {
    const text = this.text(name);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (
      text.trim() !== '' &&
      Number.isSafeInteger(value) &&
      value >= bounds.min &&
      value <= bounds.max
    )
      return value;
    throw new UsageError(`--${name} is a whole number from ${bounds.min} to ${bounds.max}`);
  }

  /** Option that is one of some words. Throws UsageError. */
  choice<W extends string>(name: string, words: readonly W[]): W | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const found = words.find((word) => word === text);
    if (found === undefined) throw new UsageError(`--${name} is one of ${words.join(', ')}`);
    return found;
  }

  /** Options of the form `name=value`. Throws UsageError. */
  pairs(name: string): ReadonlyMap<string, string> {
    return pairsOf(this.list(name), `--${name}`);
  }

  /** Settings in force, of the tenant that the command works on. */
  async settings(): Promise<Settings> {
    return (await this.loaded()).settings.forTenant();
  }

  /** Settings in force for all tenants, and the file that they came from. */
  loaded() {
    return loadSettings({ cwd: this.cli.cwd, env: this.cli.env, flags: this.#options });
  }
}

/** Takes texts of the form `name=value` apart. Throws UsageError. */
export const pairsOf = (texts: readonly string[], what: string): ReadonlyMap<string, string> =>
  new Map(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new UsageError(`${what}: expected name=value`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );

/** Action of a command for the parser. */
export const action =
  (cli: Cli, work: (call: Call) => Promise<ExitCode>) =>
  async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command;
    const options = command.optsWithGlobals<Record<string, unknown>>();
    await cli.run(() => work(new Call(cli, given.slice(0, -2), options)));
  };

/** Collects the values of an option that may be given several times. */
export const collected = (value: string, before: readonly string[] | undefined): string[] => [
  ...(before ?? []),
  value,
];
