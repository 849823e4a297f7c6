import { TidemarkError } from '@tidemark/model';
import type { SyncErrorView } from '@tidemark/server';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { timeText } from '../output.js';
import { addResolutionOptions, conflictLines, resolutionOf } from '../resolution.js';
import { withDesk } from '../server/open-desk.js';

const states = ['open', 'ignored', 'resolved'] as const;
const limitDefault = 100;
const limitMax = 1_000;

const list = async (call: Call): Promise<ExitCode> => {
  const state = call.isOn('all') ? undefined : (call.choice('state', states) ?? 'open');
  const after = call.text('after');
  const errors = await withDesk(await call.settings(), { look: true }, (desk) =>
    desk.errors({
      limit: call.count('limit', limitDefault, { min: 1, max: limitMax }),
      ...(state === undefined ? {} : { state }),
      ...(after === undefined ? {} : { after }),
    }),
  );
  call.output.list(
    errors,
    ['id', 'kind', 'state', 'table', 'record', 'user', 'parked on', 'message'],
    (one) => [
      one.id,
      one.kind,
      one.state,
      one.table,
      one.record,
      one.user,
      timeText(one.parkedOn),
      one.message,
    ],
    'no sync errors',
  );
  return exitCodes.ok;
};

const unknown = (id: string): TidemarkError =>
  new TidemarkError('invalid-resolution', `there is no sync error ${id}`);

const shown = (error: SyncErrorView): string =>
  [
    `${error.id}: ${error.kind}, ${error.state}, ${error.table} ${error.record}, by ${error.user} on ${timeText(error.parkedOn)}`,
    ...(error.message === '' ? [] : [`  ${error.message}`]),
    ...conflictLines(error.conflicts),
  ].join('\n');

const show = async (call: Call): Promise<ExitCode> => {
  const error = await withDesk(await call.settings(), { look: true }, (desk) =>
    desk.error(call.arg(0)),
  );
  if (error === null) throw unknown(call.arg(0));
  call.output.result(error, () => shown(error));
  return exitCodes.ok;
};

const resolve = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const id = call.arg(0);
  return withDesk(settings, {}, async (desk) => {
    const error = await desk.error(id);
    if (error === null) throw unknown(id);
    const resolution = resolutionOf(call, error.conflicts, await desk.customization());
    const result = await desk.resolve(id, {
      ...resolution,
      shown: error.shown,
      user: settings.needed('user'),
    });
    const isDone = result.verdict === 'done';
    call.output.result(result, () =>
      isDone
        ? `${id}: ${result.error.state}${result.error.disposition === null ? '' : `, ${result.error.disposition}`}`
        : `${id}: not done, the verdict is ${result.verdict}; look at it again with \`errors show ${id}\``,
    );
    return isDone ? exitCodes.ok : exitCodes.failed;
  });
};

/** Adds `errors`. */
export const addErrors = (program: Command, cli: Cli): void => {
  const errors = program
    .command('errors')
    .description('Sync errors of all devices: what waits for a person.');
  errors
    .command('list')
    .description('List sync errors, oldest id first.')
    .option('--state <state>', `${states.join(', ')} (open when left out)`)
    .option('--all', 'in all states')
    .option('--after <id>', 'go on after this one')
    .option('--limit <count>', `at most (${limitDefault} when left out)`)
    .action(action(cli, list));
  errors
    .command('show')
    .description('Show one sync error with its conflicts and what the server holds now.')
    .argument('<id>', 'id of the sync error')
    .action(action(cli, show));
  addResolutionOptions(
    errors
      .command('resolve')
      .description('Decide a sync error for the device that made it.')
      .argument('<id>', 'id of the sync error'),
  ).action(action(cli, resolve));
};
