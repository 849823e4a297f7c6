import { fork, type ChildProcess } from 'node:child_process';

/** Message of a program to its parent: everything but the calls of the transport has a `say`. */
export interface Saying {
  readonly say: string;
}

const isSaying = (message: unknown): message is Saying =>
  typeof message === 'object' && message !== null && 'say' in message;

/** Most milliseconds that a parent waits for a word of a child. */
const silenceMsMax = 120_000;

/** A program in its own process, with a channel that carries bytes as bytes. */
export class Child<S extends Saying> {
  readonly channel: ChildProcess;
  /** Resolves when the process is gone and all that it said has been heard. */
  readonly gone: Promise<void>;
  readonly #heard: S[] = [];
  readonly #listeners = new Set<(saying: S | undefined) => void>();
  #errorText = '';
  #isGone = false;

  constructor(program: string, args: readonly string[], execArgv: readonly string[] = []) {
    this.channel = fork(program, [...args], {
      serialization: 'advanced',
      execArgv: [...execArgv],
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    this.channel.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errorText += text;
    });
    this.channel.on('message', (message) => {
      if (!isSaying(message)) return;
      this.#heard.push(message as S);
      for (const listener of [...this.#listeners]) listener(message as S);
    });
    // A killed child may leave calls behind that cannot be answered any more.
    this.channel.on('error', () => undefined);
    const exited = new Promise<void>((resolve) => this.channel.once('close', () => resolve()));
    const unheard = new Promise<void>((resolve) => this.channel.once('disconnect', resolve));
    this.gone = Promise.all([exited, unheard]).then(() => {
      this.#isGone = true;
      for (const listener of [...this.#listeners]) listener(undefined);
    });
  }

  /** Everything that the child has said so far. */
  get heard(): readonly S[] {
    return this.#heard;
  }

  /** Signal or exit code that ended the child; undefined while it lives. */
  get endedBy(): string | undefined {
    const { signalCode, exitCode } = this.channel;
    return signalCode ?? (exitCode === null ? undefined : `exit code ${exitCode}`);
  }

  /** What the child wrote to its standard error. */
  get errorText(): string {
    return this.#errorText;
  }

  /** Waits until the child says this, also if it said so before; undefined if it is gone without. */
  hear<W extends S['say']>(
    word: W,
    msMax = silenceMsMax,
  ): Promise<Extract<S, { readonly say: W }> | undefined> {
    type Wanted = Extract<S, { readonly say: W }>;
    const known = this.#heard.find(({ say }) => say === word);
    if (known !== undefined) return Promise.resolve(known as Wanted);
    if (this.#isGone) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#listeners.delete(listener);
      };
      const listener = (saying: S | undefined): void => {
        if (saying !== undefined && saying.say !== word) return;
        end();
        resolve(saying as Wanted | undefined);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`the child did not say ${word}: ${this.#errorText}`));
      }, msMax);
      this.#listeners.add(listener);
    });
  }

  tell(message: Saying): void {
    this.channel.send(message, () => undefined);
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.channel.kill('SIGKILL');
    await this.gone;
  }
}

/** Children that are started before they are needed: their programs are loaded when they are told to begin. */
export class Spares<S extends Saying> {
  readonly #program: string;
  #next: Child<S>;

  constructor(program: string) {
    this.#program = program;
    this.#next = new Child<S>(program, []);
  }

  /** Lets the next child begin with its arguments, and starts the one after it. */
  begin(args: readonly string[]): Child<S> {
    const child = this.#next;
    this.#next = new Child<S>(this.#program, []);
    child.tell({ say: 'begin', args } as Saying);
    return child;
  }

  /** Ends the child that nobody needs any more. */
  dispose(): Promise<void> {
    return this.#next.kill();
  }
}

/** Arguments of a program: those of its command line, or those that its parent tells a spare to begin with. */
export const argumentsOfLife = (): Promise<readonly string[]> => {
  const given = process.argv.slice(2);
  if (given.length > 0) return Promise.resolve(given);
  return new Promise((resolve) => {
    process.once('message', (message: { readonly args: readonly string[] }) =>
      resolve(message.args),
    );
  });
};

/** Says something to the parent; resolves when the words are in the channel, which outlives a kill. */
export const sayToParent = <S extends Saying>(message: S): Promise<void> =>
  new Promise((resolve, reject) => {
    process.send?.(message, undefined, undefined, (error: Error | null) =>
      error === null ? resolve() : reject(error),
    );
  });
