import path from 'node:path';
import type { Command } from 'commander';
import { action, collected, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { UsageError } from '../failure.js';
import {
  importRows,
  importStepRowsMax,
  type ImportOptions,
  type ImportResult,
} from '../rows/import-rows.js';
import { formatOfName, rowFormats, type RowFormat } from '../rows/row.js';
import { delimiterOf } from '../rows/delimiter.js';
import { tableOf } from '../rows/row-check.js';
import { withDesk } from '../server/open-desk.js';

const formatOf = (call: Call, file: string): RowFormat => {
  const format = call.choice('format', rowFormats) ?? formatOfName(file);
  if (format === undefined)
    throw new UsageError(
      'the format cannot be told from the name',
      'Give --format csv|ndjson|json.',
    );
  return format;
};

const summary = (result: ImportResult): string => {
  const { table, rows, imported, rejected, resumedAfter, rejects, dryRun, complete } = result;
  const done = dryRun ? 'could be imported' : 'imported';
  const lines = [`${table}: ${rows} rows read, ${imported} ${done}, ${rejected} bad`];
  if (resumedAfter > 0) lines.push(`went on after row ${resumedAfter}`);
  if (rejects !== null) lines.push(`bad rows with their numbers: ${rejects}`);
  if (!complete && rejected > 0 && imported === 0) lines.push('nothing was imported');
  else if (!complete) lines.push('not complete: run the same command again to go on');
  return lines.join('\n');
};

const codeOf = (
  { complete, rejected, dryRun }: ImportResult,
  badRows: ImportOptions['badRows'],
  wasStopped: boolean,
): ExitCode => {
  if (!complete) return wasStopped ? exitCodes.interrupted : exitCodes.failed;
  if (rejected === 0) return exitCodes.ok;
  return dryRun && badRows === 'refuse' ? exitCodes.failed : exitCodes.partly;
};

const importFile = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const file = call.arg(1) === '-' ? '-' : path.resolve(call.cli.cwd, call.arg(1));
  const format = formatOf(call, file);
  const badRows = call.choice('badRows', ['skip', 'refuse'] as const) ?? 'skip';
  if (file === '-' && badRows === 'refuse')
    throw new UsageError('--bad-rows refuse reads the file twice, the standard input cannot be');
  const isStopped = (): boolean => call.cli.signal.aborted;
  const named = file === '-' ? path.join(call.cli.cwd, 'import') : file;
  return withDesk(settings, { begin: true }, async (desk) => {
    const result = await importRows(desk, {
      file,
      delimiter: delimiterOf(call.text('delimiter')),
      mapping: {
        table: tableOf(await desk.customization(), call.arg(0)),
        format,
        idColumn: call.text('id') ?? 'id',
        renamed: call.pairs('map'),
        ignoreUnknown: call.isOn('ignoreUnknown'),
      },
      tenant: settings.needed('tenant'),
      user: settings.needed('user'),
      badRows,
      dryRun: call.isOn('dryRun'),
      stateFile:
        file === '-'
          ? undefined
          : path.resolve(call.cli.cwd, call.text('state') ?? `${named}.import-state.json`),
      rejectFile: path.resolve(call.cli.cwd, call.text('rejects') ?? `${named}.rejects.ndjson`),
      stepRows: call.count('stepRows', importStepRowsMax, { min: 1, max: importStepRowsMax }),
      restart: call.isOn('restart'),
      isStopped,
      onProgress: ({ rows, rejected }) =>
        call.output.progress(`${rows} rows read, ${rejected} bad`),
    });
    call.output.result(result, () => summary(result));
    return codeOf(result, badRows, isStopped());
  });
};

/** Adds `import`. */
export const addImport = (program: Command, cli: Cli): void => {
  program
    .command('import')
    .description(
      'Import rows into a table: each creates the record of its id, or sets the fields of the one there. ' +
        'Interrupted, it goes on where it stopped when it is called again.',
    )
    .argument('<table>', 'table to import into')
    .argument('<file>', 'CSV with a header, NDJSON, or a JSON array; - for the standard input')
    .option('--format <format>', 'csv, ndjson or json; told from the name when left out')
    .option('--id <column>', 'column of the record id (id when left out)')
    .option(
      '--map <column=field>',
      'field of a column with another name; may be repeated',
      collected,
    )
    .option('--ignore-unknown', 'pass over columns that are no field')
    .option('--delimiter <char>', 'delimiter of CSV (, when left out)')
    .option('--bad-rows <what>', 'skip: import the rest; refuse: import nothing if one is bad')
    .option('--rejects <file>', 'file for bad rows (<file>.rejects.ndjson when left out)')
    .option('--state <file>', 'file that remembers how far it is (<file>.import-state.json)')
    .option('--restart', 'begin anew after an interrupted import')
    .option('--dry-run', 'check all rows, import none')
    .option(
      '--step-rows <count>',
      `rows that are made durable together, at most ${importStepRowsMax}`,
    )
    .action(action(cli, importFile));
};
