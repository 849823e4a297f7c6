import { fromHex, utf8Decode, utf8Encode } from '@tidemark/model';
import type { InputPosition } from '@tidemark/ports';
import type { FoldState } from './fold-state.js';
import type { InputEntry } from './input-entry.js';
import { knownMessagesMax, lookUpInput } from './input-memory.js';
import type { Window } from './window.js';

/** Kinds of entries that are of the line of history in which they began: they do not come again. */
const ofOneLine: readonly InputEntry['kind'][] = ['incarnation', 'generation', 'life', 'again'];

/** Whether an entry may come again on another line. */
export const comesAgain = (kind: InputEntry['kind']): boolean => !ofOneLine.includes(kind);

/** Keys that one entry forgets at most: those of entries that came again too long ago. */
const forgottenAtOnce = 2;

/*
 *   again/<generation>/<seq>/<hash>    the message came again
 *   came/<ordinal>                     its key, to forget the oldest
 */
const againKey = ({ generation, seq, hash }: InputPosition & { readonly hash: string }): string =>
  `again/${generation}/${seq}/${hash}`;
const cameKey = (ordinal: number): string => `came/${String(ordinal).padStart(15, '0')}`;

/**
 * Tells whether an entry that comes again is to be decided. `had`: this line of history has it, from its
 * first place or because it came again before. `unknown`: it is so old that this cannot be told.
 */
export const placeAgain = async (
  window: Window,
  state: FoldState,
  of: InputPosition & { readonly hash: string },
): Promise<'lacking' | 'had' | 'unknown'> => {
  const { overlay } = window;
  const { messages } = state.counts;
  const hash = fromHex(of.hash) ?? new Uint8Array(0);
  const place = await lookUpInput(overlay.store, messages, of, hash);
  if (place === 'same') return 'had';
  const key = againKey(of);
  const [came] = await overlay.store.getEntries('known-input', [key]);
  if (came !== undefined) return 'had';
  if (place === 'unknown') return 'unknown';
  overlay.note('known-input', key, new Uint8Array(0));
  overlay.note('known-input', cameKey(messages), utf8Encode(key));
  const old = await overlay.store.scanEntries('known-input', {
    gt: 'came/',
    lt: cameKey(Math.max(0, messages - knownMessagesMax)),
    limit: forgottenAtOnce,
  });
  for (const { key: oldKey, value } of old) {
    overlay.note('known-input', oldKey, null);
    overlay.note('known-input', utf8Decode(value), null);
  }
  return 'lacking';
};
