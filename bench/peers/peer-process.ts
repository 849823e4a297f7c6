import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { PeerDevice, PeerServer } from './roles.js';

/** What a process of an engine has used so far. */
export interface PeerUsage {
  /** Bytes over the connections that it opened, both ways. */
  readonly bytes: number;
  readonly peakRssMb: number;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

const program = fileURLToPath(new URL('process-main.js', import.meta.url));
/** An answer with everything is one text in some engines. */
const heapMb = 8_192;

/** Server or device of an engine in a process of its own, so that memory is counted apart. */
export class PeerProcess<R extends PeerServer | PeerDevice> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #calls = 0;
  #hasEnded = false;

  constructor(engine: string, part: 'server' | 'device') {
    this.#child = fork(program, [engine, part], {
      execArgv: [`--max-old-space-size=${heapMb}`],
      // Engines print as they like; the bench's own lines are on stdout.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#child.on('message', (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    this.#child.once('exit', (code) => {
      this.#hasEnded = true;
      for (const [id, settle] of this.#waiting) settle({ id, error: `ended with code ${code}` });
      this.#waiting.clear();
    });
  }

  async #ask(name: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#hasEnded) throw new Error(`${name}: the process has ended`);
    this.#calls += 1;
    const id = this.#calls;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.send({ id, name, args });
    });
    if (answer.error !== undefined) throw new Error(`${name}: ${answer.error}`);
    return answer.result;
  }

  /** Calls a function of the role and waits for its answer. */
  call<K extends keyof R & string>(
    name: K,
    ...args: R[K] extends (...given: infer A extends unknown[]) => unknown ? A : never
  ): Promise<R[K] extends (...given: never[]) => Promise<infer V> ? V : never> {
    return this.#ask(name, args) as Promise<
      R[K] extends (...given: never[]) => Promise<infer V> ? V : never
    >;
  }

  usage(): Promise<PeerUsage> {
    return this.#ask('usage', []) as Promise<PeerUsage>;
  }

  /** Ends the process. */
  async end(): Promise<void> {
    if (this.#hasEnded) return;
    const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    await this.#ask('close', []).catch(() => undefined);
    if (!this.#hasEnded) this.#child.disconnect();
    await gone;
  }
}
