import { emptyHead, fromHex, invariant, toHex, utf8Decode, utf8Encode } from '@tidemark/model';
import type { Rewrap } from './local-replica.js';
import type { ReplicaCore } from './replica-core.js';
import { epochStartsMax, tableMeta, type ReplicaMeta } from './replica-meta.js';

const markerFormat = 1;

/** What the marker beside the store says: how far the log was published, with the chain head there. */
export interface PublishedMark {
  readonly tenant: string;
  readonly user: string;
  readonly replica: string;
  readonly publishedTo: number;
  readonly head: Uint8Array;
}

/** Encodes the marker's payload. */
export const encodeMark = (mark: PublishedMark): Uint8Array =>
  utf8Encode(JSON.stringify({ format: markerFormat, ...mark, head: toHex(mark.head) }));

/** Decodes the marker's payload; `undefined` when there is none or it cannot be read. */
export const decodeMark = (bytes: Uint8Array | undefined): PublishedMark | undefined => {
  if (bytes === undefined) return undefined;
  try {
    const json = JSON.parse(utf8Decode(bytes)) as PublishedMark & { readonly head: string };
    if (!Number.isSafeInteger(json.publishedTo) || json.publishedTo < 0) return undefined;
    return { ...json, head: fromHex(json.head) ?? emptyHead };
  } catch {
    return undefined;
  }
};

/** Chain head after the operation `index`, which ends a transaction; `undefined` when it is not held. */
export const headAt = async (core: ReplicaCore, index: number): Promise<Uint8Array | undefined> => {
  if (index === 0) return emptyHead;
  const { log } = core.store;
  for (const { lastIndex, head } of [log.end(), log.base()]) if (index === lastIndex) return head;
  const [entry] = await log.read(index, 1);
  return entry !== undefined && entry.index + entry.opCount - 1 === index ? entry.head : undefined;
};

/** Writes the marker for the state as it is. */
export const writeMark = async (core: ReplicaCore): Promise<void> => {
  const { tenant, user, replica, publishedTo } = core.meta;
  const head = (await headAt(core, publishedTo)) ?? emptyHead;
  await core.options.marker.write(encodeMark({ tenant, user, replica, publishedTo, head }));
};

/** Fsyncs the log and notes how far it may be sent, inside and beside the store. */
export const markPublished = (core: ReplicaCore, to: number): Promise<void> =>
  core.turn.run(async () => {
    if (to <= core.meta.publishedTo) return;
    invariant(to <= core.store.log.end().lastIndex, 'only what the log holds can be published');
    await core.store.sync();
    await core.commit({ meta: { ...core.meta, publishedTo: to }, durability: 'disk' });
    await writeMark(core);
  });

/** State under a new identity of the log's tail. */
export const rewrapped = (meta: ReplicaMeta, change: Rewrap): ReplicaMeta => {
  const { above, granted } = change;
  const starts = meta.epochStarts.filter(([, from]) => from <= above);
  const epochStarts = [...starts, [granted ? change.epoch : 0, above + 1] as const];
  // What lies above is the replica's own from now on, also where it was shared.
  const shared = meta.origins.map((origin) => ({
    ...origin,
    lastIndex: Math.min(origin.lastIndex, above),
  }));
  return {
    ...meta,
    replica: change.replica ?? meta.replica,
    epoch: change.epoch,
    provisional: change.provisional,
    awaitsGrant: !granted,
    epochStarts: epochStarts.slice(-epochStartsMax),
    origins: change.origin === undefined ? shared : [...shared, change.origin],
    publishedTo: Math.min(meta.publishedTo, above),
    mergedTo: Math.min(meta.mergedTo, above),
    archivedTo: Math.min(meta.archivedTo, above),
    ended: false,
  };
};

/** Gives the operations above an index another epoch or replica id. Their bytes stay as they are. */
export const rewrap = (core: ReplicaCore, change: Rewrap): Promise<void> =>
  core.turn.run(async () => {
    await core.commit({ meta: rewrapped(core.meta, change), durability: 'disk' });
    await writeMark(core);
  });

/** Drops transactions that no view, no open operation and no upload needs any more. */
export const trimLog = (core: ReplicaCore, to: number): Promise<void> =>
  core.turn.run(async () => {
    const { meta, store } = core;
    let bound = Math.min(to, meta.mergedTo, (core.open.first() ?? Infinity) - 1);
    for (const table of core.schema.tablesById.keys()) {
      const views = await store.scanRows('view', table, { layers: meta.layers, limit: 1 });
      if (views.rows.length > 0) bound = Math.min(bound, tableMeta(meta, table).mergedTo);
    }
    if (bound >= store.log.firstIndex()) await core.commit({ batch: { trimLogTo: bound } });
  });
