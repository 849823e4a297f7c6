import type { SyncLog } from '@tidemark/model';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { timeText } from '../output.js';
import { withDesk } from '../server/open-desk.js';

/** Newest logs that are looked through. */
export const logsMax = 10_000;
const limitDefault = 50;

/** Columns of sync logs for people. */
export const logColumns: readonly string[] = [
  'started',
  'ms',
  'user',
  'replica',
  'mode',
  'result',
  'error',
  'up ops',
  'down bytes',
  'pending',
  'parked',
];

/** One sync log as a row for people. */
export const logRow = (log: SyncLog): readonly string[] => [
  timeText(log.startedOn),
  String(log.endedOn - log.startedOn),
  log.user,
  log.replica,
  log.mode,
  log.result,
  log.error ?? '-',
  String(log.uploadedOperations),
  String(log.downloadedBytes),
  String(log.pendingOperations),
  String(log.parked),
];

const logs = async (call: Call): Promise<ExitCode> => {
  const kept = await withDesk(await call.settings(), { look: true }, (desk) =>
    desk.syncLogs(logsMax),
  );
  const wanted: readonly (readonly [string | undefined, (log: SyncLog) => string])[] = [
    [call.text('ofUser'), (log) => log.user],
    [call.text('replica'), (log) => log.replica],
    [call.text('result'), (log) => log.result],
  ];
  const found = kept
    .filter(({ log }) => wanted.every(([word, of]) => word === undefined || of(log) === word))
    .slice(0, call.count('limit', limitDefault, { min: 1, max: logsMax }));
  call.output.list(found, logColumns, ({ log }) => logRow(log), 'no sync logs');
  return exitCodes.ok;
};

/** Adds `logs`. */
export const addLogs = (program: Command, cli: Cli): void => {
  program
    .command('logs')
    .description('List the logs of sync runs that devices sent, newest first.')
    .option('--limit <count>', `at most (${limitDefault} when left out)`)
    .option('--of-user <name>', 'runs of this user')
    .option('--replica <id>', 'runs of this replica')
    .option('--result <result>', 'synced, pending, blocked, failed or cancelled')
    .action(action(cli, logs));
};
