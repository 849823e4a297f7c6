import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ActorCalls } from './actor-calls.js';

/** Answer of an actor to one call. */
export interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

const program = fileURLToPath(new URL('actor-main.js', import.meta.url));

/** Process of its own that plays the server, the device, or both, so that memory is counted apart. */
export class Actor {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #calls = 0;
  #isGone = false;

  constructor() {
    this.#child = fork(program, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (answer) => {
      const { id } = answer as Answer;
      this.#waiting.get(id)?.(answer as Answer);
      this.#waiting.delete(id);
    });
    this.#gone = new Promise((resolve) => {
      this.#child.once('exit', (code) => {
        this.#isGone = true;
        for (const [id, settle] of this.#waiting) settle({ id, error: `ended with code ${code}` });
        this.#waiting.clear();
        resolve();
      });
    });
  }

  /** Calls a function of the actor and waits for its answer. */
  async call<K extends keyof ActorCalls>(
    name: K,
    ...args: Parameters<ActorCalls[K]>
  ): Promise<Awaited<ReturnType<ActorCalls[K]>>> {
    if (this.#isGone) throw new Error(`${name}: the process has ended`);
    this.#calls += 1;
    const id = this.#calls;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.send({ id, name, args });
    });
    if (answer.error !== undefined) throw new Error(`${name}: ${answer.error}`);
    return answer.result as Awaited<ReturnType<ActorCalls[K]>>;
  }

  /** Closes what is open and ends the process. */
  async end(): Promise<void> {
    if (this.#isGone) return;
    try {
      await this.call('close');
      this.#child.disconnect();
      await this.#gone;
    } finally {
      await this.kill();
    }
  }

  /** Ends the process in the middle of whatever it does. */
  async kill(): Promise<void> {
    if (!this.#isGone) this.#child.kill('SIGKILL');
    await this.#gone;
  }
}
