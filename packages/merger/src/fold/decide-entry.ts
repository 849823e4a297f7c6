import { decide, foreignTransaction, serverTransaction, type MergeReader } from '@tidemark/merge';
import {
  customizationsTable,
  decodeCustomization,
  destructiveChanges,
  encodeTransaction,
  isRecordId,
  printOpId,
  resolutionFields,
  resolutionFromFields,
  resolutionsTable,
  userTableIdMax,
  type Customization,
} from '@tidemark/model';
import { mergeContext } from './author-view.js';
import { noteDecision, runResolutions } from './decide-device.js';
import type { ForeignReport, InputEntry } from './input-entry.js';
import { shadowKey } from './overlay.js';
import { park, type ParkedOrigin } from './parking.js';
import type { ReplicaState } from './replica-state.js';
import { resolve } from './resolve.js';
import { foldAuthor, type Window } from './window.js';

/** Replica id of the server's own writes. */
export const writeAuthor = 'server:write';

/** Replica id of a system of record; undefined when its name is not allowed. */
export const backendAuthor = (backend: string): string | undefined =>
  /^[A-Za-z0-9_-]{1,64}$/.test(backend) ? `backend:${backend}` : undefined;

/** Id of a row of `customizations`, in the order of versions. */
export const customizationId = (version: number): string => String(version).padStart(10, '0');

/** State of a writer inside the server: its indexes count within an incarnation. */
const innerState = (window: Window, replica: string, user: string): ReplicaState => {
  const known = window.overlay.replicas.get(replica);
  const epoch = window.incarnation;
  if (known?.epoch === epoch) return known;
  return {
    format: 1,
    replica,
    user,
    epoch,
    provisional: '',
    mergedTo: 0,
    head: '',
    version: 0,
    receivedOn: 0,
    origin: null,
    lineage: [],
    grants: [],
    forked: false,
    chains: 0,
    parked: known?.parked ?? 0,
    sides: 0,
  };
};

const serverReader = (window: Window): MergeReader => ({
  record: (table, id) => window.overlay.records.get(table, id),
  chain: () => undefined,
  side: () => undefined,
  parkedUnder: () => undefined,
  parkedCreate: () => undefined,
});

const moveInner = (window: Window, state: ReplicaState, opCount: number): void => {
  const latest = window.overlay.replicas.get(state.replica);
  window.overlay.replicas.set(state.replica, {
    ...state,
    parked: latest?.parked ?? state.parked,
    mergedTo: state.mergedTo + opCount,
    version: window.n,
    receivedOn: window.now,
  });
};

/** Decides a write of the server: it always applies, unless a value is not valid. */
export const decideWrite = (
  window: Window,
  entry: Extract<InputEntry, { readonly kind: 'write' }>,
): void => {
  const { schema } = window.context;
  const ops = entry.ops.filter(({ table, id }) => table <= userTableIdMax && isRecordId(id));
  const reader = serverReader(window);
  const { transaction } = serverTransaction(schema, ops, reader.record);
  if (transaction === null) return;
  window.begin();
  window.operations += transaction.ops.length;
  const state = innerState(window, writeAuthor, writeAuthor);
  const author = {
    kind: 'server',
    replica: writeAuthor,
    epoch: state.epoch,
    user: entry.user,
    firstIndex: state.mergedTo + 1,
    origin: null,
  } as const;
  const times = { receivedAt: window.now, offsetMs: 0, foreignModifiedOn: null };
  const decision = decide(reader, transaction, mergeContext(window, author, times));
  const refused = decision.parks.length > 0;
  if (!refused) window.apply(decision, writeAuthor, false);
  const operations = decision.operations.map((one) =>
    refused ? { ...one, outcome: 'rejected' as const } : one,
  );
  noteDecision(window, { ...decision, operations }, author, 'merge');
  moveInner(window, state, transaction.ops.length);
  window.finish();
};

const decideForeignRow = async (
  window: Window,
  backend: string,
  replica: string,
  row: ForeignReport,
): Promise<void> => {
  const { shadows } = window.overlay;
  const key = shadowKey(backend, row.table, row.id);
  const shadow = shadows.get(key);
  const rowVersion = row.rowVersion ?? (shadow?.rowVersion ?? 0) + 1;
  if (shadow !== undefined && rowVersion <= shadow.rowVersion) return;
  const deleted = row.deleted === true;
  const { table, id, fields, modifiedOn } = row;
  const seen = shadow === undefined || shadow.deleted ? null : shadow.fields;
  const reader = serverReader(window);
  const server = reader.record(table, id);
  const report = { table, id, fields, deleted };
  const transaction = foreignTransaction(window.context.schema, seen, report, server);
  shadows.set(key, { fields, modifiedOn, rowVersion, deleted });
  if (transaction === null) return;
  window.begin();
  window.operations += 1;
  const state = innerState(window, replica, replica);
  const firstIndex = state.mergedTo + 1;
  const who = { replica, epoch: state.epoch, user: replica } as const;
  const author = { kind: 'backend', ...who, firstIndex, origin: null } as const;
  const times = { receivedAt: window.now, offsetMs: 0, foreignModifiedOn: modifiedOn };
  const decision = decide(reader, transaction, mergeContext(window, author, times));
  window.apply(decision, replica, false);
  noteDecision(window, decision, author, 'merge');
  moveInner(window, state, 1);
  const origin: ParkedOrigin = {
    author: 'backend',
    ...who,
    schemaVersion: transaction.schemaVersion,
    ...times,
  };
  for (const one of decision.parks)
    await park(window, origin, one, [firstIndex], transaction, encodeTransaction(transaction));
  window.finish();
};

/** Decides rows of a system of record, each as its own transaction. An echo gets no version. */
export const decideForeign = async (
  window: Window,
  entry: Extract<InputEntry, { readonly kind: 'foreign' }>,
): Promise<void> => {
  const replica = backendAuthor(entry.backend);
  if (replica === undefined) return;
  for (const row of entry.rows)
    if (row.table <= userTableIdMax && isRecordId(row.id))
      await decideForeignRow(window, entry.backend, replica, row);
};

/** Customization that may take the place of the one in force; undefined: it is refused. */
export const acceptable = (current: Customization, json: unknown): Customization | undefined => {
  const decoded = decodeCustomization(json);
  if (decoded._tag === 'Left') return undefined;
  return destructiveChanges(current, decoded.right).length > 0 ? undefined : decoded.right;
};

/**
 * Publishes a customization at the next version, or records that it was refused. Returns the one to put
 * in force for what follows.
 */
export const decideCustomization = async (
  window: Window,
  entry: Extract<InputEntry, { readonly kind: 'customization' }>,
): Promise<Customization | undefined> => {
  const next = acceptable(window.context.schema.customization, entry.json);
  window.begin();
  const record = next === undefined ? '' : customizationId(next.version);
  const op = printOpId({ replica: foldAuthor, epoch: window.incarnation, index: window.n });
  window.note(customizationsTable, {
    op,
    user: entry.by,
    record,
    outcome: next === undefined ? 'rejected' : 'applied',
    fields: [],
    decider: 'merge',
  });
  if (next !== undefined) {
    await window.overlay.loadRecord(customizationsTable, record);
    const fields = { 1: next.version, 2: JSON.stringify(next) };
    window.writeSystem(customizationsTable, record, fields, entry.by, entry.by);
    window.customizationVersion = next.version;
  }
  window.finish();
  return next;
};

/** Carries out a resolution by the administration at the next version. Its id is used once. */
export const decideResolution = async (
  window: Window,
  entry: Extract<InputEntry, { readonly kind: 'resolution' }>,
): Promise<void> => {
  if (!isRecordId(entry.id)) return;
  await window.overlay.loadRecord(resolutionsTable, entry.id);
  if (window.overlay.records.get(resolutionsTable, entry.id) !== undefined) return;
  window.begin();
  const fields = resolutionFields(entry.resolution);
  const decoded = resolutionFromFields(fields);
  const resolver = { by: entry.by, id: entry.id, replica: null };
  const verdict =
    decoded._tag === 'Left' ? 'invalid' : await resolve(window, resolver, decoded.right);
  window.writeSystem(resolutionsTable, entry.id, { ...fields, 5: verdict }, entry.by, entry.by);
  await runResolutions(window);
  window.finish();
};
