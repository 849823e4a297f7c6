import { TidemarkError } from '@tidemark/model';
import type { InputPosition } from '@tidemark/ports';
import { generationsFollowedMax, type InputGenerations } from './input-generations.js';
import { entrySubject } from './subjects.js';

/** Bytes that one append offers before it waits for the word that they are stored. */
export const appendBytesInFlightMax = 4 * 1024 * 1024;
/** Messages that one append offers before it waits. */
export const appendMessagesInFlightMax = 256;

/** Stores entries of a server in order, window by window. Resolves with their positions. */
export const appendEntries = async (
  generations: InputGenerations,
  messages: readonly Uint8Array[],
): Promise<readonly InputPosition[]> => {
  const positions: InputPosition[] = [];
  for (let at = 0; at < messages.length;) {
    const window = windowFrom(messages, at);
    positions.push(...(await appendWindow(generations, window)));
    at += window.length;
  }
  return positions;
};

/** Stores messages in order; those that came behind an end are stored again behind it. */
const appendWindow = async (
  generations: InputGenerations,
  messages: readonly Uint8Array[],
): Promise<readonly InputPosition[]> => {
  const positions = new Map<number, InputPosition>();
  const isOpen = (at: number): boolean => !positions.has(at);
  for (let followed = 0; followed < generationsFollowedMax; followed += 1) {
    const generation = generations.current;
    const subject = entrySubject(generations.streams.token, generation);
    const open = messages.map((_, at) => at).filter(isOpen);
    if (open.length === 0) break;
    const offers = open.map((at) => {
      const id = generations.newId();
      const bytes = messages[at] as Uint8Array;
      return generations.offerUntilKnown(() =>
        generations.streams.offer(generation, subject, bytes, id),
      );
    });
    const outcomes = await Promise.allSettled(offers);
    // A message behind the end is stored, but it is no part of the input.
    const end = await generations.endFor(generation);
    outcomes.forEach((outcome, i) => {
      if (outcome.status === 'rejected' || outcome.value.tag === 'refused') return;
      const { seq } = outcome.value;
      if (end === undefined || seq < end.seq) positions.set(open[i] as number, { generation, seq });
    });
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') throw outcome.reason;
      if (outcome.value.tag === 'refused' && !canFollow(outcome.value.refusal))
        throw outcome.value.error;
    }
    if (open.some(isOpen)) await generations.openExtent();
  }
  return messages.map((_, at) => {
    const position = positions.get(at);
    if (position !== undefined) return position;
    throw new TidemarkError('unreachable', 'the input moved on too often');
  });
};

const canFollow = (refusal: string): boolean =>
  refusal === 'other-generation' || refusal === 'missing';

const windowFrom = (messages: readonly Uint8Array[], from: number): readonly Uint8Array[] => {
  let bytes = 0;
  let to = from;
  while (to < messages.length && to - from < appendMessagesInFlightMax) {
    bytes += (messages[to] as Uint8Array).length;
    if (to > from && bytes > appendBytesInFlightMax) break;
    to += 1;
  }
  return messages.slice(from, to);
};
