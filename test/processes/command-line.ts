import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli, type CliPlace } from '@tidemark/cli';
import { natsProgram } from './nats-server.js';

const lookMs = 5;
const waitMsMax = 30_000;

/** What a command line wrote and how it ended. */
export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly ended: Promise<Ended>;
}

/** Waits until something holds; fails after half a minute. */
export const until = async (holds: () => boolean): Promise<void> => {
  const untilMs = Date.now() + waitMsMax;
  while (!holds()) {
    if (Date.now() > untilMs) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
};

/** A folder in which command lines run, as processes of their own or within this one. */
export class CommandFolder {
  readonly path: string;
  readonly #entry: string;
  readonly #running = new Set<ChildProcess>();

  constructor(entry: string) {
    this.#entry = entry;
    this.path = mkdtempSync(path.join(tmpdir(), 'tm-cli-'));
  }

  /** Full path of a file of the folder. */
  file(...names: string[]): string {
    return path.join(this.path, ...names);
  }

  /** Text of a file of the folder. */
  read(...names: string[]): string {
    return readFileSync(this.file(...names), 'utf8');
  }

  has(...names: string[]): boolean {
    return existsSync(this.file(...names));
  }

  #env(env: Readonly<Record<string, string>>): Record<string, string> {
    return {
      PATH: process.env['PATH'] ?? '',
      ...(natsProgram === undefined ? {} : { NATS_SERVER: natsProgram }),
      // Servers of several tests run side by side.
      TIDEMARK_HTTP: '127.0.0.1:0',
      ...env,
    };
  }

  /** Starts a command as a process. */
  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    const child = spawn(process.execPath, [this.#entry, ...args], {
      cwd: this.path,
      env: this.#env(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#running.add(child);
    const text = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text.out += part));
    child.stderr.setEncoding('utf8').on('data', (part: string) => (text.err += part));
    const ended = new Promise<Ended>((resolve) =>
      child.once('close', (code) => {
        this.#running.delete(child);
        resolve({ code, ...text });
      }),
    );
    return { child, out: () => text.out, ended };
  }

  /** Runs a command within this process: many times faster, and the same but for signals. */
  call(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    ask?: (question: string) => Promise<string>,
  ): Promise<Ended> {
    return this.#call(args, env, ask === undefined ? {} : { ask });
  }

  /** Like `call`, for a command that runs until it is told to stop: as soon as it wrote this text. */
  callUntil(text: string, args: readonly string[]): Promise<Ended> {
    const stopping = new AbortController();
    return this.#call(args, {}, { signal: stopping.signal }, (out) => {
      if (out.includes(text)) stopping.abort();
    });
  }

  async #call(
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    place: CliPlace,
    onOut: (out: string) => void = () => undefined,
  ): Promise<Ended> {
    const text = { out: '', err: '' };
    const sink = (name: 'out' | 'err') => ({
      write: (part: string) => {
        text[name] += part;
        onOut(text.out);
        return true;
      },
    });
    const code = await runCli(args, {
      cwd: this.path,
      env: this.#env(env),
      out: sink('out'),
      err: sink('err'),
      signal: new AbortController().signal,
      ...place,
    });
    return { code, ...text };
  }

  /** Runs a command to its end, as a process. */
  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    return this.start(args, env).ended;
  }

  /** Calls a command with `--json` that ends with 0; its document. */
  async json<A = Readonly<Record<string, unknown>>>(...args: string[]): Promise<A> {
    const { code, out, err } = await this.call([...args, '--json']);
    if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${err}`);
    return JSON.parse(out) as A;
  }

  async dispose(): Promise<void> {
    for (const child of this.#running) child.kill('SIGKILL');
    await until(() => this.#running.size === 0);
    rmSync(this.path, { recursive: true, force: true });
  }
}
