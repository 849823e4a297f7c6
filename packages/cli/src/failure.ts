import { errorCatalogue, TidemarkError, type ErrorDetails } from '@tidemark/model';
import { exitCodes, type ExitCode } from './exit-code.js';

/** Failure of the command line itself: what is wrong, and what to do. */
export class UsageError extends Error {
  readonly action: string;

  constructor(message: string, action = 'See the command with --help.') {
    super(message);
    this.name = 'UsageError';
    this.action = action;
  }
}

/** NATS ended under a server: its process can serve no more, and another one can. */
export class LostNatsError extends TidemarkError {
  constructor(message: string) {
    super('unreachable', message);
  }
}

const exitCodeOf = (cause: TidemarkError): ExitCode => {
  if (cause instanceof LostNatsError) return exitCodes.lost;
  return cause.code === 'aborted' ? exitCodes.interrupted : exitCodes.failed;
};

/** Failure as it is shown: one document with `--json`, three lines without. */
export interface ShownFailure {
  readonly code: string;
  readonly message: string;
  readonly action: string;
  readonly recovery: string | null;
  readonly details: ErrorDetails;
  readonly exitCode: ExitCode;
}

const fileActions: Readonly<Record<string, string>> = {
  ENOENT: 'Check the path.',
  EACCES: 'Give this user the right to the file.',
  EEXIST: 'Choose another path, or remove what is there.',
  ENOSPC: 'Free space; then run the command again.',
  EISDIR: 'Name a file.',
};

const plain = (
  code: string,
  message: string,
  action: string,
  exitCode: ExitCode = exitCodes.failed,
): ShownFailure => ({ code, message, action, recovery: null, details: {}, exitCode });

/** What to say about a failure; values of records are never part of it. */
export const showFailure = (cause: unknown): ShownFailure => {
  if (cause instanceof UsageError)
    return plain('usage', cause.message, cause.action, exitCodes.usage);
  if (cause instanceof TidemarkError) {
    const { code, recovery, details } = cause;
    const message = cause.message.startsWith(`${code}: `)
      ? cause.message.slice(code.length + 2)
      : cause.message;
    const exitCode = exitCodeOf(cause);
    const action =
      exitCode === exitCodes.lost
        ? 'Start `serve` again: a supervisor does it by itself.'
        : errorCatalogue[code].action;
    return { code, message, action, recovery, details, exitCode };
  }
  if (cause instanceof Error) {
    const system = 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined;
    if (system !== undefined)
      return plain(system, cause.message, fileActions[system] ?? 'Read the message.');
    return plain(
      'bug',
      cause.stack ?? cause.message,
      'This is a bug of Tidemark: report it with this text.',
    );
  }
  return plain('bug', String(cause), 'This is a bug of Tidemark: report it with this text.');
};
