import { equalBytes, fromHex, toHex, utf8Encode, concatBytes } from '@tidemark/model';
import type { InputPosition } from '@tidemark/ports';
import type { AuthorView } from './author-view.js';
import { decideDeviceTransaction } from './decide-device.js';
import { signatureProblem } from './decide-identity.js';
import { encodeHeads, headKey } from './head-list.js';
import type { InputCaller } from './input-entry.js';
import type { OpenedEnvelope } from './open-envelope.js';
import type { ReplicaState } from './replica-state.js';
import { quarantinedToldMax, type Window } from './window.js';

/** Messages that space `quarantine` keeps at most: the oldest ones. */
export const quarantineEntriesMax = 1_000;
/** Bytes of messages that space `quarantine` keeps at most. */
export const quarantineBytesMax = 64 * 1024 * 1024;

/** Counts a message that is not what it claims, and keeps its bytes while there is room. */
export const quarantine = (
  window: Window,
  position: InputPosition,
  reason: string,
  caller: InputCaller | null,
  bytes: Uint8Array,
): void => {
  const { counts } = window;
  counts.quarantined += 1;
  if (window.quarantined.length < quarantinedToldMax)
    window.quarantined.push({
      position,
      reason,
      replica: caller?.replica ?? null,
      device: caller?.device ?? null,
    });
  const room = counts.quarantinedBytes + bytes.length <= quarantineBytesMax;
  if (counts.quarantined > quarantineEntriesMax || !room) return;
  counts.quarantinedBytes += bytes.length;
  const header = utf8Encode(JSON.stringify({ reason, caller, position, at: window.now }));
  const length = new Uint8Array(5);
  length[0] = 1;
  new DataView(length.buffer).setUint32(1, header.length);
  const key = String(counts.quarantined).padStart(10, '0');
  window.overlay.note('quarantine', key, concatBytes([length, header, bytes]));
};

const headAtMerged = (opened: OpenedEnvelope, mergedTo: number): Uint8Array | undefined => {
  const { envelope, transactions } = opened;
  if (envelope.from - 1 === mergedTo) return envelope.headBefore;
  const [first] = transactions;
  if (first !== undefined && first.first - 1 === mergedTo) return opened.headAtMerged;
  return transactions.find((one) => one.first + one.opCount - 1 === mergedTo)?.head;
};

/** Message of the input that brought an envelope. */
export interface EnvelopeMessage {
  readonly position: InputPosition;
  readonly receivedAt: number;
  readonly caller: InputCaller;
  readonly bytes: Uint8Array;
  /** Undefined: its chain does not verify; `problem` says why. */
  readonly opened: OpenedEnvelope | undefined;
  readonly problem: string;
}

const checkIdentity = async (
  window: Window,
  { caller, opened, problem }: EnvelopeMessage,
  state: ReplicaState | undefined,
): Promise<string | undefined> => {
  if (opened === undefined) return problem;
  const { envelope } = opened;
  if (caller.tenant !== window.context.tenant) return 'tenant';
  if (caller.replica !== envelope.replica || caller.user !== envelope.user) return 'identity';
  if (state !== undefined && state.user !== caller.user) return 'user';
  return signatureProblem(window, caller, envelope);
};

/**
 * Merges an envelope: decides its transactions above the replica's position, in order. What is merged
 * already is passed over; a gap or another epoch is skipped; what does not verify is quarantined.
 */
export const decideEnvelope = async (
  window: Window,
  message: EnvelopeMessage,
  view: AuthorView | undefined,
): Promise<void> => {
  const { counts, overlay } = window;
  const { caller, opened } = message;
  const state = overlay.replicas.get(caller.replica);
  const problem = await checkIdentity(window, message, state);
  if (opened === undefined || problem !== undefined)
    return quarantine(window, message.position, problem ?? '', caller, message.bytes);
  const { envelope } = opened;
  if (state === undefined || view === undefined || envelope.epoch !== state.epoch) {
    counts.skipped += 1;
    return undefined;
  }
  if (envelope.to <= state.mergedTo) {
    counts.duplicates += 1;
    return undefined;
  }
  if (envelope.from > state.mergedTo + 1) {
    counts.skipped += 1;
    return undefined;
  }
  const head = headAtMerged(opened, state.mergedTo);
  const known = fromHex(state.head);
  if (head === undefined || known === undefined || !equalBytes(head, known))
    return quarantine(window, message.position, 'head', caller, message.bytes);
  const times = { receivedAt: message.receivedAt, offsetMs: envelope.offsetMs };
  const fresh = opened.transactions.filter(({ first }) => first > state.mergedTo);
  for (const transaction of fresh)
    await decideDeviceTransaction(window, view, transaction, state.epoch, times);
  const heads = fresh.map((one) => ({ index: one.first + one.opCount - 1, head: one.head }));
  overlay.note('heads', headKey(state.replica, state.epoch, envelope.to), encodeHeads(heads));
  const latest = overlay.replicas.get(state.replica) ?? state;
  overlay.replicas.set(state.replica, {
    ...latest,
    mergedTo: envelope.to,
    head: toHex(envelope.headAfter),
    version: window.n,
    receivedOn: window.now,
  });
  window.moved.add(state.replica);
  return undefined;
};
