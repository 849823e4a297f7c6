import { utf8Decode, utf8Encode } from '@tidemark/model';
import type { ServerStore } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import type { LostVersion } from './rewind-guard.js';

/** A version that was given, and what shows it: a checkpoint, or the store as it was before it took one. */
export type ShownVersion = LostVersion & { readonly by: 'checkpoint' | 'store' };

/** The later one of two versions. */
export const laterOf = <B extends ShownVersion | undefined>(
  a: ShownVersion | undefined,
  b: B,
): ShownVersion | B => {
  if (a === undefined || b === undefined) return a ?? b;
  const order = a.incarnation - b.incarnation || a.n - b.n;
  return order < 0 ? b : a;
};

/** Key in `kept-input` of the note about the line that a store has left: loads leave that space as it is. */
const leftLineKey = 'left-line';

type Space = Pick<ServerStore, 'getEntries' | 'putEntries' | 'sync'>;

/**
 * Notes which version a store held, before it is put on another line: an opening that is cut behind that still
 * begins a new incarnation. Durable when it resolves.
 */
export const noteLeftLine = async (
  store: Space,
  { incarnation, n }: LostVersion,
): Promise<void> => {
  const value = utf8Encode(JSON.stringify({ incarnation, n }));
  await store.putEntries([{ space: 'kept-input', key: leftLineKey, value }]);
  await store.sync();
};

/** Version of the line that a store has left, until the state is of an incarnation above it. */
export const readLeftLine = async (
  store: Space,
  state: FoldState,
): Promise<ShownVersion | undefined> => {
  const [note] = await store.getEntries('kept-input', [leftLineKey]);
  if (note === undefined) return undefined;
  const left = JSON.parse(utf8Decode(note)) as LostVersion;
  if (state.incarnation <= left.incarnation) return { ...left, by: 'store' };
  await store.putEntries([{ space: 'kept-input', key: leftLineKey, value: null }]);
  return undefined;
};
