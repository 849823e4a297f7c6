import { isRecordId } from './ids.js';
import { left, right, type Result } from './result.js';
import type { RowFields } from './row.js';
import type { TableDefinition } from './schema.js';
import {
  resolutionActions,
  type ResolutionAction,
  type ResolutionRow,
  type SyncErrorConflict,
  type SyncErrorRow,
} from './sync-error.js';
import { valueFromJson, type Value } from './value.js';

/** Maximum shown versions, and maximum choices, of a resolution. */
export const resolutionItemsMax = 10_000;

/** Table id of `sync_errors`. */
export const syncErrorsTable = 60_001;
/** Table id of `resolutions`. */
export const resolutionsTable = 60_002;
/** Table id of `customizations`. */
export const customizationsTable = 60_003;
/** Table id of `replicas`: who is enrolled. */
export const replicasTable = 60_004;
/** Table id of `devices`: the homes of replicas, each with a credential of its own. */
export const devicesTable = 60_005;
/** Table id of `enrolment_tokens`, by hash. */
export const tokensTable = 60_006;
/** Table id of `policies`: what the tenant demands from a point of its input on. */
export const policiesTable = 60_007;

const text = (id: number, name: string): { id: number; name: string; type: 'string' } => ({
  id,
  name,
  type: 'string',
});
const plain = { rule: 'server-wins', onDelete: 'edit-wins', indexes: [] } as const;

/** System tables: records in the same order and feed as user tables, made by the engine. */
export const systemTables: readonly TableDefinition[] = [
  {
    ...plain,
    id: syncErrorsTable,
    name: 'sync_errors',
    fields: [
      text(1, 'replica'),
      text(2, 'user'),
      text(3, 'kind'),
      text(4, 'state'),
      text(5, 'message'),
      { id: 6, name: 'table', type: 'number' },
      text(7, 'record'),
      text(8, 'conflicts'),
      text(9, 'ranges'),
      { id: 10, name: 'parked_on', type: 'number' },
      text(11, 'disposition'),
      text(12, 'resolved_by'),
      text(13, 'last_resolution'),
    ],
    scopeKey: 'replica',
  },
  {
    ...plain,
    id: resolutionsTable,
    name: 'resolutions',
    fields: [
      text(1, 'root'),
      text(2, 'action'),
      text(3, 'shown'),
      text(4, 'choices'),
      text(5, 'verdict'),
    ],
  },
  {
    ...plain,
    id: customizationsTable,
    name: 'customizations',
    fields: [{ id: 1, name: 'version', type: 'number' }, text(2, 'json')],
  },
  {
    ...plain,
    id: replicasTable,
    name: 'replicas',
    fields: [
      text(1, 'user'),
      text(2, 'device'),
      text(3, 'public_key'),
      text(4, 'state'),
      text(5, 'origin'),
      text(6, 'token'),
    ],
  },
  {
    ...plain,
    id: devicesTable,
    name: 'devices',
    fields: [text(1, 'user'), text(2, 'state')],
  },
  {
    ...plain,
    id: tokensTable,
    name: 'enrolment_tokens',
    fields: [
      text(1, 'user'),
      text(2, 'device'),
      { id: 3, name: 'expires_on', type: 'number' },
      text(4, 'used_by'),
    ],
  },
  { ...plain, id: policiesTable, name: 'policies', fields: [text(1, 'value')] },
];

/** Most conflicts that a `sync_errors` row lists. What is decided later does not depend on the list. */
export const conflictsShownMax = 500;
/** UTF-16 units that the values of all conflicts of a row may take before long texts are cut. */
export const conflictUnitsMax = 64 * 1024;

/** Values of conflicts are for people to read: long texts are cut, so that the row fits a message. */
const conflictsText = (all: readonly SyncErrorConflict[]): string => {
  const conflicts = all.slice(0, conflictsShownMax);
  const text = JSON.stringify(conflicts);
  if (text.length <= conflictUnitsMax) return text;
  const unitsMax = Math.max(16, Math.floor(conflictUnitsMax / (2 * conflicts.length)));
  const cut = (value: Value): Value =>
    typeof value === 'string' && value.length > unitsMax
      ? `${value.slice(0, unitsMax).replace(/[\ud800-\udbff]$/, '')}…`
      : value;
  return JSON.stringify(
    conflicts.map((one) => ({ ...one, base: cut(one.base), ours: cut(one.ours) })),
  );
};

/** Fields of a `sync_errors` row. */
export const syncErrorFields = (row: SyncErrorRow): RowFields => ({
  1: row.replica,
  2: row.user,
  3: row.kind,
  4: row.state,
  5: row.message,
  6: row.table,
  7: row.record,
  8: conflictsText(row.conflicts),
  9: JSON.stringify(row.ranges),
  10: row.parkedOn,
  11: row.disposition,
  12: row.resolvedBy,
  13: row.lastResolution === null ? null : JSON.stringify(row.lastResolution),
});

const parseOr = <A>(value: Value | undefined, otherwise: A): A =>
  typeof value === 'string' ? (JSON.parse(value) as A) : otherwise;

const textOf = (value: Value | undefined): string => (typeof value === 'string' ? value : '');

/** Reads a `sync_errors` row that the engine wrote. */
export const syncErrorFromFields = (root: string, fields: RowFields): SyncErrorRow => ({
  root,
  replica: textOf(fields[1]),
  user: textOf(fields[2]),
  kind: fields[3] as SyncErrorRow['kind'],
  state: fields[4] as SyncErrorRow['state'],
  message: textOf(fields[5]),
  table: Number(fields[6]),
  record: textOf(fields[7]),
  conflicts: parseOr(fields[8], []),
  ranges: parseOr(fields[9], []),
  parkedOn: Number(fields[10]),
  disposition: (fields[11] ?? null) as SyncErrorRow['disposition'],
  resolvedBy: (fields[12] ?? null) as string | null,
  lastResolution: parseOr(fields[13], null),
});

/** Fields of a `resolutions` row. */
export const resolutionFields = (row: ResolutionRow): RowFields => ({
  1: row.root,
  2: row.action,
  3: JSON.stringify(row.shown),
  4: JSON.stringify(row.choices),
});

const isObject = (json: unknown): json is Record<string, unknown> =>
  typeof json === 'object' && json !== null && !Array.isArray(json);

const isCount = (json: unknown): boolean =>
  typeof json === 'number' && Number.isSafeInteger(json) && json >= 0;

const isTarget = (json: Record<string, unknown>): boolean =>
  isCount(json['table']) && typeof json['record'] === 'string' && isRecordId(json['record']);

const isChoice = (json: Record<string, unknown>): boolean =>
  isCount(json['field']) &&
  (json['pick'] === 'mine' ||
    json['pick'] === 'theirs' ||
    (json['pick'] === 'value' && valueFromJson(json['value']) !== undefined));

const decodeEach = (
  value: Value | undefined,
  check: (json: Record<string, unknown>) => boolean,
): unknown => {
  if (typeof value !== 'string') return undefined;
  try {
    const json: unknown = JSON.parse(value);
    const fits = (one: unknown): boolean => isObject(one) && isTarget(one) && check(one);
    return Array.isArray(json) && json.length <= resolutionItemsMax && json.every(fits)
      ? json
      : undefined;
  } catch {
    return undefined;
  }
};

/** Decodes a `resolutions` row from a device or an administrator; the failure names the bad field. */
export const resolutionFromFields = (fields: RowFields): Result<string, ResolutionRow> => {
  const root = fields[1];
  const action = fields[2];
  const shown = decodeEach(fields[3], (one) => isCount(one['incarnation']) && isCount(one['n']));
  const choices = decodeEach(fields[4], isChoice);
  if (typeof root !== 'string') return left('root');
  if (typeof action !== 'string' || !resolutionActions.includes(action as ResolutionAction))
    return left('action');
  if (shown === undefined) return left('shown');
  if (choices === undefined) return left('choices');
  return right({
    root,
    action: action as ResolutionAction,
    shown: shown as ResolutionRow['shown'],
    choices: choices as ResolutionRow['choices'],
  });
};
