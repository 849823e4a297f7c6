import { createInterface } from 'node:readline/promises';
import { CommanderError } from 'commander';
import { exitCodes, type ExitCode } from './exit-code.js';
import { showFailure } from './failure.js';
import { Output, type TextSink } from './output.js';
import { buildProgram } from './program.js';

/** Where a command line runs: the process itself for what is left out. */
export interface CliPlace {
  readonly out?: TextSink;
  readonly err?: TextSink;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Answers questions; a person at the terminal of the process, if one sits there, when left out. */
  readonly ask?: (question: string) => Promise<string>;
  /** Fires when the command should end; signals of the process when left out. */
  readonly signal?: AbortSignal;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

/**
 * Ends a command gracefully at the first signal, or when nobody reads its output any more, as behind `| head`
 * (a server goes on); a second signal ends the process at once.
 */
const processSignal = (
  output: Output,
): { readonly signal: AbortSignal; readonly end: () => void } => {
  const controller = new AbortController();
  const listener = (): void => {
    controller.abort();
    end();
  };
  const end = (): void => {
    for (const name of signals) process.removeListener(name, listener);
  };
  for (const name of signals) process.on(name, listener);
  // They stay: what was written last may find out after the command has ended.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (cause: Error) => {
      if (!('code' in cause) || cause.code !== 'EPIPE') throw cause;
      if (!output.isService) controller.abort();
    });
  return { signal: controller.signal, end };
};

const askTerminal = async (question: string, signal: AbortSignal): Promise<string> => {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question(question, { signal });
  } finally {
    terminal.close();
  }
};

const isUsage = (error: CommanderError): boolean => error.exitCode !== 0;

/**
 * Runs one command line, such as `['status', '--json']`; resolves with the exit code. It never rejects:
 * failures are told on the standard error.
 */
export const runCli = async (argv: readonly string[], place: CliPlace = {}): Promise<ExitCode> => {
  const env = place.env ?? process.env;
  const end = argv.indexOf('--');
  const output = new Output({
    out: place.out ?? process.stdout,
    err: place.err ?? process.stderr,
    json: (end < 0 ? argv : argv.slice(0, end)).includes('--json'),
    noColour: (env['NO_COLOR'] ?? '') !== '',
  });
  const stopping = place.signal === undefined ? processSignal(output) : undefined;
  let code: ExitCode = exitCodes.ok;
  const signal = place.signal ?? stopping?.signal ?? new AbortController().signal;
  const isTerminal = process.stdin.isTTY && place.signal === undefined;
  const program = buildProgram({
    output,
    ask:
      place.ask ?? (isTerminal ? (question: string) => askTerminal(question, signal) : undefined),
    env,
    cwd: place.cwd ?? process.cwd(),
    signal,
    run: async (work) => {
      code = await work();
    },
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (cause) {
    if (cause instanceof CommanderError) {
      if (!isUsage(cause)) return exitCodes.ok;
      output.failure({
        code: 'usage',
        message: cause.message.replace(/^error: /, ''),
        action: 'See the command with --help.',
        recovery: null,
        details: {},
        exitCode: exitCodes.usage,
      });
      return exitCodes.usage;
    }
    const failure = showFailure(cause);
    output.failure(failure);
    return failure.exitCode;
  } finally {
    stopping?.end();
  }
};
