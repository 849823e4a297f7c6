import path from 'node:path';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { UsageError } from '../failure.js';
import { delimiterOf } from '../rows/delimiter.js';
import { exportRows } from '../rows/export-rows.js';
import { formatOfName, rowFormats } from '../rows/row.js';
import { tableOf } from '../rows/row-check.js';
import { columnsOf, rowText } from '../rows/row-text.js';
import { withDesk } from '../server/open-desk.js';

const fieldsOf = (call: Call): readonly string[] | undefined =>
  call
    .text('fields')
    ?.split(',')
    .map((name) => name.trim());

const exportTable = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const out = call.text('out');
  const file = out === undefined ? undefined : path.resolve(call.cli.cwd, out);
  const format = call.choice('format', rowFormats) ?? formatOfName(file ?? '') ?? 'ndjson';
  const delimiter = delimiterOf(call.text('delimiter'));
  const filter = call.text('filter');
  const isStopped = (): boolean => call.cli.signal.aborted;
  return withDesk(settings, { look: true }, async (desk) => {
    const table = tableOf(await desk.customization(), call.arg(0));
    const wanted = fieldsOf(call);
    const unknown = wanted?.find((name) => !table.fieldsByName.has(name));
    if (unknown !== undefined) throw new UsageError(`${table.name} has no field ${unknown}`);
    const columns = columnsOf(table, wanted);
    const result = await exportRows(desk, {
      table: table.name,
      filter,
      text: rowText(format, columns, delimiter),
      mark: JSON.stringify([
        settings.needed('tenant'),
        table.name,
        format,
        columns,
        delimiter,
        filter,
      ]),
      file,
      stateFile: path.resolve(
        call.cli.cwd,
        call.text('state') ?? `${file ?? 'export'}.export-state.json`,
      ),
      print: (text) => call.output.data(text),
      restart: call.isOn('restart'),
      isStopped,
      onProgress: (records) => {
        if (file !== undefined) call.output.progress(`${records} records`);
      },
    });
    // The standard output holds the records themselves when no file was named.
    if (file === undefined) {
      if (result.complete) call.output.note(`${result.records} records`);
    } else
      call.output.result(
        result,
        () =>
          `${result.records} records of ${table.name} in ${file}${result.complete ? '' : ', not complete: run the same command again to go on'}`,
      );
    return result.complete ? exitCodes.ok : exitCodes.interrupted;
  });
};

/** Adds `export`. */
export const addExport = (program: Command, cli: Cli): void => {
  program
    .command('export')
    .description(
      'Export the records of a table in id order. With --out, an interrupted export goes on where it ' +
        'stopped. While the server runs, the result is no copy of one moment; a backup is.',
    )
    .argument('<table>', 'table to export')
    .option('--out <file>', 'file to write; the standard output when left out')
    .option(
      '--format <format>',
      'csv, ndjson or json; told from the name when left out, else ndjson',
    )
    .option('--fields <names>', 'fields to export, with commas between them; all when left out')
    .option('--filter <expression>', 'records to export, such as \'status = "done"\'')
    .option('--delimiter <char>', 'delimiter of CSV (, when left out)')
    .option('--state <file>', 'file that remembers how far it is (<out>.export-state.json)')
    .option('--restart', 'begin anew after an interrupted export')
    .action(action(cli, exportTable));
};
