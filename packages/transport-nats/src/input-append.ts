import { TidemarkError } from '@tidemark/model';
import type { AppendOutcome } from '@tidemark/ports';
import { generationsFollowedMax, mayFollow, type InputGenerations } from './input-generations.js';
import { streamFailure } from './stream-store.js';
import { entrySubject } from './subjects.js';

/** Bytes that one append offers before it waits for the word that they are stored. */
export const appendBytesInFlightMax = 4 * 1024 * 1024;
/** Messages that one append offers before it waits. */
export const appendMessagesInFlightMax = 256;

/** Stores entries of a server in order, window by window. Resolves with what became of each. */
export const appendEntries = async (
  generations: InputGenerations,
  messages: readonly Uint8Array[],
): Promise<readonly AppendOutcome[]> => {
  const outcomes: AppendOutcome[] = [];
  while (outcomes.length < messages.length) {
    const window = windowFrom(messages, outcomes.length);
    const found = await appendWindow(generations, window);
    outcomes.push(...found);
    const failed = found.find((one) => one.tag !== 'stored');
    // Nothing that comes later may be stored before it.
    if (failed !== undefined) {
      const { error } = failed;
      while (outcomes.length < messages.length) outcomes.push({ tag: 'refused', error });
    }
  }
  return outcomes;
};

/** Stores messages in order; those that came behind an end are stored again behind it. */
const appendWindow = async (
  generations: InputGenerations,
  messages: readonly Uint8Array[],
): Promise<readonly AppendOutcome[]> => {
  const outcomes = new Map<number, AppendOutcome>();
  let failure: Error | undefined;
  for (let followed = 0; followed < generationsFollowedMax; followed += 1) {
    const open = messages.map((_, at) => at).filter((at) => !outcomes.has(at));
    if (open.length === 0) break;
    try {
      const found = await offerOnce(generations, messages, open);
      found.forEach((outcome, i) => {
        if (outcome !== undefined) outcomes.set(open[i] as number, outcome);
      });
      const failed = found.find((outcome) => outcome !== undefined && outcome.tag !== 'stored');
      if (failed !== undefined) failure = failed.error;
      if (failure !== undefined) break;
      if (found.includes(undefined)) await generations.openExtent();
    } catch (cause) {
      failure = streamFailure(cause);
      break;
    }
  }
  const error = failure ?? new TidemarkError('unreachable', 'the input moved on too often');
  return messages.map((_, at) => outcomes.get(at) ?? { tag: 'refused', error });
};

/** Offers messages to the current generation; undefined for those that came behind its end. */
const offerOnce = async (
  generations: InputGenerations,
  messages: readonly Uint8Array[],
  open: readonly number[],
): Promise<readonly (AppendOutcome | undefined)[]> => {
  const generation = generations.current;
  const subject = entrySubject(generations.streams.token, generation);
  const offers = open.map((at) => {
    const id = generations.newId();
    const bytes = messages[at] as Uint8Array;
    return generations.offerUntilKnown(() =>
      generations.streams.offer(generation, subject, bytes, id),
    );
  });
  const offered = await Promise.allSettled(offers);
  // A message behind the end is stored, but it is no part of the input.
  const end = await generations.endFor(generation).then(
    (found) => ({ seq: found?.seq ?? Number.POSITIVE_INFINITY }),
    (cause: unknown) => ({ error: streamFailure(cause) }),
  );
  return offered.map((one): AppendOutcome | undefined => {
    if (one.status === 'rejected') return { tag: 'unknown', error: streamFailure(one.reason) };
    const { value } = one;
    if (value.tag === 'refused') {
      const { error, refusal, wasUnknown } = value;
      if (!mayFollow.includes(refusal)) return { tag: 'refused', error };
      // A stream that was sealed meanwhile does not tell whether it knows the message by its id.
      return wasUnknown ? { tag: 'unknown', error } : undefined;
    }
    const { seq } = value;
    if ('error' in end) return { tag: 'unknown', error: end.error };
    return seq < end.seq ? { tag: 'stored', position: { generation, seq } } : undefined;
  });
};

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
