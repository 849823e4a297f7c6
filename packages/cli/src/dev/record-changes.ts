import type { Value } from '@tidemark/model';

/** Record by field names, with its id. */
export type WatchedRecord = Readonly<Record<string, Value | undefined>>;

/** How a record changed between two results. */
export interface RecordChange {
  readonly record: string;
  readonly kind: 'created' | 'changed' | 'deleted';
  readonly fields: Readonly<Record<string, readonly [Value, Value]>>;
}

const fieldsOf = (
  before: WatchedRecord,
  after: WatchedRecord,
): Readonly<Record<string, readonly [Value, Value]>> => {
  const changed: Record<string, readonly [Value, Value]> = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [old, now] = [before[name] ?? null, after[name] ?? null];
    if (name !== 'id' && JSON.stringify(old) !== JSON.stringify(now)) changed[name] = [old, now];
  }
  return changed;
};

const byId = (records: readonly WatchedRecord[]): ReadonlyMap<string, WatchedRecord> =>
  new Map(records.map((record) => [String(record['id'] as string), record]));

/** Changes between two results of one query, in the order of the newer one. */
export const recordChanges = (
  before: readonly WatchedRecord[],
  after: readonly WatchedRecord[],
): readonly RecordChange[] => {
  const [old, now] = [byId(before), byId(after)];
  const changes: RecordChange[] = [];
  for (const [record, row] of now) {
    const was = old.get(record);
    const fields = fieldsOf(was ?? {}, row);
    if (was === undefined) changes.push({ record, kind: 'created', fields });
    else if (Object.keys(fields).length > 0) changes.push({ record, kind: 'changed', fields });
  }
  for (const [record, row] of old)
    if (!now.has(record)) changes.push({ record, kind: 'deleted', fields: fieldsOf(row, {}) });
  return changes;
};
