import { TidemarkError, type Customization, type Value } from '@tidemark/model';
import type { Command } from 'commander';
import { action, pairsOf, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { UsageError } from '../failure.js';
import { cellText } from '../output.js';
import { valueFromPlainJson, valueFromText } from '../rows/value-text.js';
import { tableOf } from '../rows/row-check.js';
import { onDevice } from './on-device.js';

const limitDefault = 100;
const limitMax = 10_000;

/** Fields of an edit: `name=value` pairs, or `--data` with a JSON object. Throws UsageError. */
const fieldsOf = (
  call: Call,
  at: number,
  customization: Customization,
): Readonly<Record<string, Value>> => {
  const table = tableOf(customization, call.arg(0));
  const fields: Record<string, Value> = {};
  const data = call.text('data');
  if (data !== undefined) {
    let json: unknown;
    try {
      json = JSON.parse(data);
    } catch {
      throw new UsageError('--data is a JSON object');
    }
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw new UsageError('--data is a JSON object');
    for (const [name, value] of Object.entries(json)) {
      const field = table.fieldsByName.get(name);
      fields[name] = (field === undefined ? value : valueFromPlainJson(field, value)) as Value;
    }
  }
  for (const [name, text] of pairsOf(call.rest(at), 'fields')) {
    const field = table.fieldsByName.get(name);
    if (field === undefined)
      throw new TidemarkError('unknown-field', `${table.name} has no field ${name}`);
    fields[name] = text === '' ? null : valueFromText(field, text);
  }
  return fields;
};

const showRecord = (record: Readonly<Record<string, unknown>>): string =>
  Object.entries(record)
    .map(([name, value]) => `${name}: ${cellText(value)}`)
    .join('\n');

const get = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    const record = await replica.get(call.arg(0), call.arg(1));
    if (record === undefined)
      throw new TidemarkError('unknown-record', `there is no ${call.arg(0)} ${call.arg(1)} here`);
    call.output.result(record, () => showRecord(record));
    return exitCodes.ok;
  });

const orderOf = (text: string): { readonly field: string; readonly direction?: 'desc' } => {
  const [field = '', direction] = text.split(':');
  if (direction === undefined || direction === 'asc') return { field };
  if (direction === 'desc') return { field, direction };
  throw new UsageError('--order is field, field:asc or field:desc');
};

const query = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica, customization }) => {
    const filter = call.text('filter');
    const order = call.text('order');
    const records = await replica.query(call.arg(0), {
      limit: call.count('limit', limitDefault, { min: 1, max: limitMax }),
      ...(filter === undefined ? {} : { filter }),
      ...(order === undefined ? {} : { order: order.split(',').map(orderOf) }),
    });
    const known = customization.tables.find(({ name }) => name === call.arg(0));
    const columns = ['id', ...(known?.fields ?? []).map(({ name }) => name)];
    call.output.list(
      records,
      columns,
      (record) => columns.map((column) => cellText(record[column])),
      'no records',
    );
    return exitCodes.ok;
  });

const told = (call: Call, table: string, id: string, what: string): ExitCode => {
  call.output.result(
    { table, id, edit: what },
    () => `${what} ${table} ${id}; it is pending until a sync`,
  );
  return exitCodes.ok;
};

const create = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica, customization }) => {
    const id = call.text('id');
    const made = await replica.create(
      call.arg(0),
      fieldsOf(call, 1, customization),
      id === undefined ? {} : { id },
    );
    return told(call, call.arg(0), made, 'create');
  });

const update = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica, customization }) => {
    await replica.update(call.arg(0), call.arg(1), fieldsOf(call, 2, customization));
    return told(call, call.arg(0), call.arg(1), 'update');
  });

const remove = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    await replica.delete(call.arg(0), call.arg(1));
    return told(call, call.arg(0), call.arg(1), 'delete');
  });

const increment = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    const by = Number(call.arg(3));
    if (call.arg(3).trim() === '' || !Number.isFinite(by)) throw new UsageError('<by> is a number');
    await replica.increment(call.arg(0), call.arg(1), call.arg(2), by);
    return told(call, call.arg(0), call.arg(1), 'increment');
  });

const text = (call: Call): Promise<ExitCode> =>
  onDevice(call, false, async ({ replica }) => {
    await replica.editText(call.arg(0), call.arg(1), call.arg(2), call.arg(3));
    return told(call, call.arg(0), call.arg(1), 'text');
  });

/** Adds the commands of `device` that read and edit records. */
export const addDeviceRecords = (device: Command, cli: Cli): void => {
  const on = (name: string, description: string): Command =>
    device.command(name).description(description).argument('<table>', 'table of the record');
  on('get', 'Show one record as the device sees it, pending edits included.')
    .argument('<id>', 'id of the record')
    .action(action(cli, get));
  on('query', 'List records as the device sees them, pending edits included.')
    .option('--filter <expression>', 'such as \'status = "planned" and parts > 0\'')
    .option('--order <fields>', 'fields, with commas between them; field:desc turns one round')
    .option('--limit <count>', `at most (${limitDefault} when left out)`)
    .action(action(cli, query));
  on('create', 'Create a record, offline; the next sync brings it to the server.')
    .argument('[field=value...]', 'fields; an empty value is null')
    .option('--id <id>', 'id of the record; a new one when left out')
    .option('--data <json>', 'fields as a JSON object')
    .action(action(cli, create));
  on('update', 'Set fields of a record, offline.')
    .argument('<id>', 'id of the record')
    .argument('[field=value...]', 'fields; an empty value is null')
    .option('--data <json>', 'fields as a JSON object')
    .action(action(cli, update));
  on('delete', 'Delete a record, offline.')
    .argument('<id>', 'id of the record')
    .action(action(cli, remove));
  on('increment', 'Add to a counter, offline. Put -- before a negative number.')
    .argument('<id>', 'id of the record')
    .argument('<field>', 'counter of the record')
    .argument('<by>', 'number to add')
    .action(action(cli, increment));
  on('text', 'Edit a shared text, offline: give the whole new text.')
    .argument('<id>', 'id of the record')
    .argument('<field>', 'text of the record')
    .argument('<text>', 'new text')
    .action(action(cli, text));
};
