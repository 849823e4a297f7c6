import type { Hash } from '@tidemark/model';
import type { ServerStore } from '@tidemark/ports';
import { replicasOf, type DecodedMessage } from './decoded-message.js';
import { openEnvelope, type OpenedEnvelope } from './open-envelope.js';
import { Wanted } from './overlay.js';
import { RecordCache } from './record-cache.js';
import { decodeReplicaState } from './replica-state.js';
import type { Window } from './window.js';

/** Envelope as it was opened for a replica that had merged so far. */
export interface OpenedAhead {
  readonly mergedTo: number;
  readonly opened: OpenedEnvelope | undefined;
}

/** What a window needs that the one before it, whose commit is in flight, cannot change. */
export interface WindowAhead {
  readonly opened: ReadonlyMap<DecodedMessage, OpenedAhead>;
  readonly records: RecordCache;
}

const mergedPlaces = async (
  store: ServerStore,
  before: Window,
  messages: readonly DecodedMessage[],
): Promise<ReadonlyMap<string, number>> => {
  const places = new Map<string, number>();
  const missing: string[] = [];
  for (const replica of new Set(messages.flatMap(replicasOf))) {
    const state = before.overlay.replicas.peek(replica);
    if (state === undefined) missing.push(replica);
    else places.set(replica, state.mergedTo);
  }
  if (missing.length === 0) return places;
  const found = await store.getEntries('replicas', missing);
  missing.forEach((replica, i) => {
    const bytes = found[i];
    places.set(replica, bytes === undefined ? 0 : decodeReplicaState(bytes).mergedTo);
  });
  return places;
};

/**
 * Opens the envelopes of the next window and reads its records, while the window `before` is committed: records
 * that this one holds are taken over as it leaves them. Of no use when that commit fails.
 */
export const readAhead = async (
  store: ServerStore,
  before: Window,
  messages: readonly DecodedMessage[],
  hash: Hash,
): Promise<WindowAhead> => {
  const places = await mergedPlaces(store, before, messages);
  const wanted = new Wanted();
  const opened = new Map<DecodedMessage, OpenedAhead>();
  for (const message of messages) {
    const { entry, envelope } = message;
    if (entry?.kind === 'write') for (const { table, id } of entry.ops) wanted.record(table, id);
    if (entry?.kind !== 'envelope' || envelope === undefined) continue;
    const mergedTo = places.get(entry.caller.replica) ?? 0;
    const one = openEnvelope(envelope, mergedTo, hash);
    opened.set(message, { mergedTo, opened: one });
    for (const { transaction } of one?.transactions ?? [])
      for (const { table, record } of transaction?.ops ?? []) wanted.record(table, record);
  }
  const records = new RecordCache();
  records.takeOver(before.overlay.records, wanted.records);
  await records.load(store, wanted.records);
  return { opened, records };
};
