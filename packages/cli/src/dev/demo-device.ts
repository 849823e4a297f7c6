import path from 'node:path';
import type { FieldDefinition, Customization, TableDefinition, Value } from '@tidemark/model';
import type { NatsPlace, Replica, AnySchema } from '@tidemark/node';
import type { Settings } from '../config/settings.js';
import type { LooseReplica } from '../device/open-device.js';
import { pause } from '../serve/bounded.js';
import { demoUser } from './demo-user.js';
import { recordChanges, type RecordChange, type WatchedRecord } from './record-changes.js';

/** Records of a table that the demo device watches. */
export const watchedRecordsMax = 1_000;
const demoRecord = 'demo-record';

/** What the demo device tells: changes that it sees, with values, for the eyes of a developer. */
export interface DemoListener {
  readonly onChange: (table: string, change: RecordChange) => void;
  readonly onFailed: (error: unknown) => void;
}

/** A value of a field for the n-th edit; undefined where the demo device leaves the field alone. */
const demoValue = (field: FieldDefinition, n: number): Value | undefined => {
  switch (field.type) {
    case 'string':
    case 'text':
      return `Edit ${n} of the demo device`.slice(0, field.maxLength ?? Infinity);
    case 'number':
    case 'counter':
      return n;
    case 'boolean':
      return n % 2 === 0;
    case 'option':
      return field.options?.[n % field.options.length];
    case 'date':
      return '2026-01-01';
    default:
      return undefined;
  }
};

const plainFields = (table: TableDefinition): readonly FieldDefinition[] =>
  table.fields.filter(({ type }) => type !== 'counter' && type !== 'text');

/** Edits one record of the first table: it creates it, then sets a field at a time. */
const edit = async (replica: LooseReplica, table: TableDefinition, n: number): Promise<void> => {
  const fields = plainFields(table);
  if ((await replica.get(table.name, demoRecord)) === undefined) {
    const values = fields
      .filter(({ required }) => required === true)
      .map((field) => [field.name, demoValue(field, n) ?? null] as const);
    await replica.create(table.name, Object.fromEntries(values), { id: demoRecord });
    return;
  }
  const field = fields[n % fields.length];
  const value = field === undefined ? undefined : demoValue(field, n);
  if (field !== undefined && value !== undefined)
    await replica.update(table.name, demoRecord, { [field.name]: value });
};

/**
 * Opens a device that stays connected, tells each change that reaches it, and edits a record of the first
 * table every `editMs` (never when 0). Resolves with the way to end it.
 */
export const startDemoDevice = async (options: {
  readonly settings: Settings;
  readonly nats: NatsPlace;
  readonly customization: () => Customization;
  readonly editMs: number;
  readonly listener: DemoListener;
}): Promise<() => Promise<void>> => {
  const { settings, nats, customization, editMs, listener } = options;
  const { natsTransport, openReplica } = await import('@tidemark/node');
  const transport = natsTransport(nats);
  const replica: Replica<AnySchema> = await openReplica<AnySchema>({
    folder: path.join(path.dirname(settings.needed('device.folder')), 'demo-device'),
    tenant: settings.needed('tenant'),
    user: demoUser,
    schema: { customization: customization() },
    transport,
  });
  const stopping = new AbortController();
  const watched = new Map<string, () => void>();
  const watchTables = (tables: readonly TableDefinition[]): void => {
    for (const { name } of tables) {
      if (watched.has(name)) continue;
      let before: readonly WatchedRecord[] | undefined;
      const onResult = (result: readonly WatchedRecord[]): void => {
        // What is there at the beginning is no change.
        for (const change of before === undefined ? [] : recordChanges(before, result))
          listener.onChange(name, change);
        before = result;
      };
      watched.set(
        name,
        replica.watchWith(name, { limit: watchedRecordsMax }, onResult as never, listener.onFailed),
      );
    }
  };
  // The first run fills the device: only what comes after it is told.
  await replica.sync();
  watchTables(customization().tables);
  replica.onEvent((event) => {
    if (event.type === 'customization' && event.result === 'applied')
      watchTables(customization().tables);
  });
  replica.connect();
  const loose = replica as unknown as LooseReplica;
  const edits = async (): Promise<void> => {
    for (let n = 1; editMs > 0; n += 1) {
      await pause(editMs, stopping.signal);
      if (stopping.signal.aborted) return;
      const [table] = customization().tables;
      if (table !== undefined) await edit(loose, table, n).catch(listener.onFailed);
    }
  };
  const editing = edits();
  return async () => {
    stopping.abort();
    await editing;
    for (const stop of watched.values()) stop();
    await replica.close();
    await transport.disconnect();
  };
};
