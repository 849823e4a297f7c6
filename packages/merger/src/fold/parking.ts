import type { Park } from '@tidemark/merge';
import {
  encodeTransaction,
  syncErrorFields,
  syncErrorFromFields,
  syncErrorsTable,
  type SyncErrorRow,
  type Transaction,
} from '@tidemark/model';
import {
  addRanges,
  dependentsMax,
  parkedCreateKey,
  parkedMembersKey,
  parkedOperationKey,
  parkedTransactionKey,
  rangesMax,
  rangesOf,
  type ParkedTransaction,
} from './parked-transaction.js';
import type { Window } from './window.js';

/** What stays the same of a transaction when it is parked, whole or in parts. */
export type ParkedOrigin = Omit<ParkedTransaction, 'root' | 'indexes' | 'payload' | 'poison'>;

/** Loads the sync error and the members of a root. */
export const loadRoot = async (window: Window, root: string): Promise<void> => {
  const { overlay } = window;
  await Promise.all([
    overlay.loadRecord(syncErrorsTable, root),
    overlay.parkedMembers.load(overlay.store, [parkedMembersKey(root)]),
  ]);
};

/** Sync error of a loaded root. */
export const syncErrorOf = (window: Window, root: string): SyncErrorRow | undefined => {
  const record = window.overlay.records.get(syncErrorsTable, root);
  return record === undefined ? undefined : syncErrorFromFields(root, record.row.fields);
};

/** Writes a sync error at the version under way; `by` made the change. */
export const writeSyncError = (window: Window, row: SyncErrorRow, by: string): void =>
  window.writeSystem(syncErrorsTable, row.root, syncErrorFields(row), row.user, by);

/** Transactions that wait under a root, in log order. Loads them. */
export const loadMembers = async (
  window: Window,
  root: string,
): Promise<readonly ParkedTransaction[]> => {
  const { overlay } = window;
  await loadRoot(window, root);
  const keys = overlay.parkedMembers.get(parkedMembersKey(root)) ?? [];
  await overlay.parkedTransactions.load(overlay.store, keys);
  const members = keys.flatMap((key) => overlay.parkedTransactions.get(key) ?? []);
  // Their states count what waits, so they are needed whatever becomes of the members.
  const replicas = members.map(({ replica }) => replica);
  await overlay.replicas.load(overlay.store, replicas);
  return members;
};

const memberKey = ({ replica, epoch, indexes }: ParkedTransaction): string =>
  parkedTransactionKey(replica, epoch, indexes[0] ?? 0);

const indexOfRoot = (root: string): number => Number(root.slice(root.lastIndexOf('/') + 1));

const inLogOrder = (a: string, b: string): number => indexOfRoot(a) - indexOfRoot(b);

/** Keeps a transaction under a root. `transaction` undefined: poison. */
const keep = async (
  window: Window,
  parked: ParkedTransaction,
  transaction: Transaction | undefined,
): Promise<void> => {
  const { overlay } = window;
  const { root, replica, epoch, indexes } = parked;
  const key = memberKey(parked);
  overlay.parkedTransactions.set(key, parked);
  for (const at of indexes) overlay.parkedOps.set(parkedOperationKey(replica, epoch, at), root);
  const creates = createKeys(replica, transaction);
  await overlay.parkedCreates.load(overlay.store, creates);
  for (const create of creates) {
    const roots = overlay.parkedCreates.get(create) ?? [];
    if (!roots.includes(root)) overlay.parkedCreates.set(create, [...roots, root].sort(inLogOrder));
  }
  await overlay.parkedMembers.load(overlay.store, [parkedMembersKey(root)]);
  const members = overlay.parkedMembers.get(parkedMembersKey(root)) ?? [];
  overlay.parkedMembers.set(parkedMembersKey(root), [...members, key]);
  window.countParked(replica, indexes.length);
};

/** Forgets everything that waits under a root; the sync error stays. */
export const release = async (
  window: Window,
  root: string,
  members: readonly { readonly parked: ParkedTransaction; readonly creates: readonly string[] }[],
): Promise<void> => {
  const { overlay } = window;
  await overlay.parkedCreates.load(
    overlay.store,
    members.flatMap(({ creates }) => creates),
  );
  for (const { parked, creates } of members) {
    overlay.parkedTransactions.set(memberKey(parked), undefined);
    for (const at of parked.indexes)
      overlay.parkedOps.set(parkedOperationKey(parked.replica, parked.epoch, at), undefined);
    for (const key of creates) {
      const others = (overlay.parkedCreates.get(key) ?? []).filter((one) => one !== root);
      overlay.parkedCreates.set(key, others.length === 0 ? undefined : others);
    }
    window.countParked(parked.replica, -parked.indexes.length);
  }
  overlay.parkedMembers.set(parkedMembersKey(root), undefined);
};

/** Keys of the records that a transaction would create. */
export const createKeys = (
  replica: string,
  transaction: Transaction | undefined,
): readonly string[] =>
  (transaction?.ops ?? [])
    .filter(({ kind }) => kind === 'create')
    .map(({ table, record }) => parkedCreateKey(replica, table, record));

/** Part of a transaction that its park names, and the payload to keep of it. */
const partOf = (
  park: Park,
  all: readonly number[],
  transaction: Transaction,
  payload: Uint8Array,
): { readonly transaction: Transaction; readonly payload: Uint8Array } => {
  if (park.ops.length === all.length) return { transaction, payload };
  const wanted = new Set(park.ops);
  const ops = transaction.ops.filter((_, i) => wanted.has(all[i] as number));
  const part = { ...transaction, ops };
  return { transaction: part, payload: encodeTransaction(part) };
};

const newRow = (window: Window, origin: ParkedOrigin, park: Park): SyncErrorRow => ({
  root: park.root,
  replica: origin.replica,
  user: origin.user,
  kind: park.kind,
  state: 'open',
  message: park.message,
  table: park.table,
  record: park.record,
  conflicts: park.conflicts,
  ranges: rangesOf(origin.epoch, park.ops),
  parkedOn: window.now,
  disposition: null,
  resolvedBy: null,
  lastResolution: null,
});

/**
 * Parks a part of a transaction: makes its sync error, or adds it to that of its root. An ignored root is
 * opened again, so that nothing is set aside unseen.
 */
export const park = async (
  window: Window,
  origin: ParkedOrigin,
  asked: Park,
  all: readonly number[],
  transaction: Transaction,
  payload: Uint8Array,
): Promise<void> => {
  await loadRoot(window, asked.root);
  const ownRoot = `${origin.replica}/${origin.epoch}/${asked.ops[0] ?? 0}`;
  let decided = asked;
  let row = asked.dependent ? syncErrorOf(window, asked.root) : undefined;
  const waiting = window.overlay.parkedMembers.get(parkedMembersKey(asked.root))?.length ?? 0;
  const own = rangesOf(origin.epoch, asked.ops);
  const { replica } = origin;
  const isOfRoot = row === undefined || row.replica === replica;
  const more = isOfRoot ? own : own.map((range) => ({ ...range, replica }));
  const ranges = addRanges(row?.ranges ?? [], more);
  const full = waiting >= dependentsMax || ranges.length > rangesMax;
  if (asked.dependent && (row === undefined || full)) {
    decided = { ...asked, root: ownRoot, dependent: false, kind: 'missing-reference' };
    row = undefined;
    await loadRoot(window, ownRoot);
  }
  if (row === undefined) {
    window.counts.syncErrors += 1;
    writeSyncError(window, newRow(window, origin, decided), origin.user);
  } else {
    writeSyncError(window, { ...row, ranges, state: 'open', disposition: null }, origin.user);
  }
  const part = partOf(decided, all, transaction, payload);
  await keep(
    window,
    { ...origin, root: decided.root, indexes: decided.ops, poison: false, payload: part.payload },
    part.transaction,
  );
};

/** Parks a transaction that cannot be decoded; `stored` are its bytes as they came. */
export const parkPoison = async (
  window: Window,
  origin: ParkedOrigin,
  indexes: readonly number[],
  message: string,
  stored: Uint8Array,
): Promise<void> => {
  const root = `${origin.replica}/${origin.epoch}/${indexes[0] ?? 0}`;
  await loadRoot(window, root);
  window.counts.syncErrors += 1;
  const [first, last] = [indexes[0] ?? 0, indexes[indexes.length - 1] ?? 0];
  const row = newRow(window, origin, {
    root,
    dependent: false,
    kind: 'poison',
    message,
    table: 0,
    record: '',
    conflicts: [],
    range: { epoch: origin.epoch, from: first, to: last },
    ops: indexes,
  });
  writeSyncError(window, row, origin.user);
  await keep(window, { ...origin, root, indexes, poison: true, payload: stored }, undefined);
};
