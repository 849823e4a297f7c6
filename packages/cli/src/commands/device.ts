import { TidemarkError, type SyncResult } from '@tidemark/model';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { readSchemaFile } from '../config/schema-file.js';
import { readOpLog } from '../device/op-log.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { cellText, layTable, timeText } from '../output.js';
import { addResolutionOptions, conflictLines, resolutionOf } from '../resolution.js';
import { addDeviceRecords } from './device-records.js';
import { logColumns, logRow } from './logs.js';
import { onDevice } from './on-device.js';

const limitDefault = 100;
const limitMax = 10_000;

const codeOfRun: Readonly<Record<SyncResult, ExitCode>> = {
  synced: exitCodes.ok,
  pending: exitCodes.partly,
  blocked: exitCodes.partly,
  failed: exitCodes.failed,
  cancelled: exitCodes.interrupted,
};

const sync = (call: Call): Promise<ExitCode> =>
  onDevice(call, true, async ({ replica }) => {
    const log = await replica.sync({
      mode: call.isOn('background') ? 'background' : 'foreground',
      signal: call.cli.signal,
      onProgress: ({ table, done, total, uploadedOperations }) =>
        call.output.progress(
          `up ${uploadedOperations} operations, down ${table ?? ''} ${done} of ${total}`,
        ),
    });
    const { error } = replica.status;
    call.output.result({ ...log, reason: error }, () =>
      [
        `${log.result}: up ${log.uploadedOperations} operations, down ${log.downloadedBytes} bytes in ${log.pages} pages, ${log.endedOn - log.startedOn} ms`,
        ...(log.pendingOperations > 0 ? [`${log.pendingOperations} operations are pending`] : []),
        ...(log.parked > 0
          ? [`${log.parked} operations wait for a person: \`tidemark device errors\``]
          : []),
        ...(error === null ? [] : [`${error.code}: ${error.message}`]),
      ].join('\n'),
    );
    return codeOfRun[log.result];
  });

const status = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    const found = replica.status;
    const [lastRun] = await replica.logs(1);
    call.output.result({ ...found, lastRun: lastRun ?? null }, () =>
      [
        `replica ${found.replica}, epoch ${found.epoch}, customization ${found.customization.version}`,
        `${found.pending.operations} operations pending, ${found.parked} parked`,
        ...Object.entries(found.asOf).map(([table, at]) => `${table}: current to ${timeText(at)}`),
        lastRun === undefined
          ? 'it has never synced'
          : `last run ${lastRun.result} on ${timeText(lastRun.endedOn)}`,
      ].join('\n'),
    );
    return exitCodes.ok;
  });

const pending = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    const operations = await replica.pending({
      limit: call.count('limit', limitDefault, { min: 1, max: limitMax }),
    });
    call.output.list(
      operations,
      ['op', 'state', 'table', 'record', 'kind', 'edited', 'fields'],
      (one) => [
        one.op,
        one.state,
        one.table,
        one.record,
        one.kind,
        timeText(one.editedAt),
        one.changes
          .map(({ field, before, after }) => `${field}: ${cellText(before)} > ${cellText(after)}`)
          .join('; '),
      ],
      'nothing is pending',
    );
    return exitCodes.ok;
  });

const errors = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    const list = await replica.errors.list({ state: call.isOn('all') ? 'all' : 'waiting' });
    call.output.result(list, () =>
      list.length === 0
        ? 'no sync errors'
        : list
            .map((one) =>
              [
                `${one.id}: ${one.kind}, ${one.state}${one.resolving ? ', being resolved' : ''}, ${one.table} ${one.record}; actions: ${one.actions.join(', ')}`,
                ...(one.message === '' ? [] : [`  ${one.message}`]),
                ...conflictLines(one.conflicts),
              ].join('\n'),
            )
            .join('\n'),
    );
    return exitCodes.ok;
  });

const resolve = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica, customization }) => {
    const id = call.arg(0);
    const error = await replica.errors.get(id);
    if (error === undefined)
      throw new TidemarkError('invalid-resolution', `there is no sync error ${id} on this device`);
    const resolution = await replica.errors.resolve(id, {
      ...resolutionOf(call, error.conflicts, customization),
      shown: error.shown,
    });
    call.output.result(
      { id, resolution },
      () => `${id}: decided; the next sync brings it to the server`,
    );
    return exitCodes.ok;
  });

const logs = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    const list = await replica.logs(call.count('limit', limitDefault, { min: 1, max: limitMax }));
    call.output.list(list, logColumns, logRow, 'it has never synced');
    return exitCodes.ok;
  });

const oplog = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const from = call.count('from', 1, { min: 1, max: Number.MAX_SAFE_INTEGER });
  const limit = call.count('limit', limitDefault, { min: 1, max: Number.MAX_SAFE_INTEGER });
  const customization = await readSchemaFile(settings);
  let count = 0;
  for await (const one of readOpLog(settings.needed('device.folder'), customization, from)) {
    if (count >= limit || call.cli.signal.aborted) break;
    count += 1;
    call.output.item(one, () =>
      layTable({
        head: [
          String(one.index),
          timeText(one.at),
          one.erased ? 'erased' : `${one.kind ?? ''} ${one.table ?? ''} ${one.record ?? ''}`,
          one.changes.map(({ field }) => field).join(', '),
          one.head.slice(0, 12),
        ],
        rows: [],
      }),
    );
  }
  if (count === 0) call.output.note('the log holds nothing from there on');
  return exitCodes.ok;
};

/** Adds `device`. */
export const addDevice = (program: Command, cli: Cli): void => {
  const device = program
    .command('device')
    .description(
      'Open a replica in a folder of this machine. Only `sync` needs the server: over NATS when an address ' +
        "is configured, else by opening the server's folder for the run, which must then be stopped.",
    );
  device
    .command('sync')
    .description(
      'Upload what is pending, download what changed. Ends with 3 if operations stay pending.',
    )
    .option('--background', 'never take up a customization that blocks')
    .action(action(cli, sync));
  addDeviceRecords(device, cli);
  device
    .command('status')
    .description('Show what the device knows of itself.')
    .action(action(cli, status));
  device
    .command('pending')
    .description('List operations that the server has not decided for good.')
    .option('--limit <count>', `at most (${limitDefault} when left out)`)
    .action(action(cli, pending));
  device
    .command('errors')
    .description('List sync errors of the device with their conflicts.')
    .option('--all', 'also those that are resolved')
    .action(action(cli, errors));
  addResolutionOptions(
    device
      .command('resolve')
      .description('Decide a sync error, offline; the next sync brings the decision to the server.')
      .argument('<id>', 'id of the sync error'),
  ).action(action(cli, resolve));
  device
    .command('logs')
    .description('List the logs of sync runs of the device, newest first.')
    .option('--limit <count>', `at most (${limitDefault} when left out)`)
    .action(action(cli, logs));
  device
    .command('oplog')
    .description('List the operations of the log, oldest first; NDJSON with --json.')
    .option('--from <index>', 'first operation (1 when left out)')
    .option('--limit <count>', `at most (${limitDefault} when left out)`)
    .action(action(cli, oplog));
};
