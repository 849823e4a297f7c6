import { utf8Decode, utf8Encode } from '@tidemark/model';
import type { ServerStore } from '@tidemark/ports';
import { livesInState } from './fold-state.js';
import type { Window } from './window.js';

/** Lives that space `lives` remembers at most: the newest ones. */
export const livesMax = 1_000;

/** Value of space `lives`, key = id of the life: versions (n) at which it began and ended. */
export interface LifeSpan {
  readonly from: number;
  /** Version at which the next life began; null while it is the newest. */
  readonly to: number | null;
}

/*
 *   <id>               span of the life
 *   order/<no>         its id, to forget the oldest
 */
const orderKey = (no: number): string => `order/${String(no).padStart(15, '0')}`;

const encodeSpan = (span: LifeSpan): Uint8Array => utf8Encode(JSON.stringify(span));

/** Span of a life; undefined when this line of history does not know it. */
export const readLife = async (
  store: Pick<ServerStore, 'getEntries'>,
  id: string,
): Promise<LifeSpan | undefined> => {
  const [bytes] = await store.getEntries('lives', [id]);
  return bytes === undefined ? undefined : (JSON.parse(utf8Decode(bytes)) as LifeSpan);
};

/** Version at which the oldest remembered life began, and whether older ones were forgotten. */
export const oldestLife = async (
  store: Pick<ServerStore, 'getEntries' | 'scanEntries'>,
): Promise<{ readonly from: number; readonly forgotten: boolean } | undefined> => {
  const [first] = await store.scanEntries('lives', { gt: 'order/', lt: 'order0', limit: 1 });
  if (first === undefined) return undefined;
  const span = await readLife(store, utf8Decode(first.value));
  return span && { from: span.from, forgotten: first.key !== orderKey(1) };
};

/**
 * Begins a life: the server that appended the entry has opened. A life that is known already changes
 * nothing. No version is used up, and no decision reads lives.
 */
export const decideLife = async (window: Window, id: string): Promise<void> => {
  const { overlay } = window;
  const [last] = window.lives;
  if (window.lives.some((one) => one.id === id)) return;
  if ((await readLife(overlay.store, id)) !== undefined) return;
  const from = window.n;
  if (last !== undefined) {
    const ended: LifeSpan = { from: last.from, to: from };
    overlay.note('lives', last.id, encodeSpan(ended));
  }
  const no = (last?.no ?? 0) + 1;
  overlay.note('lives', id, encodeSpan({ from, to: null }));
  overlay.note('lives', orderKey(no), utf8Encode(id));
  window.lives = [{ no, id, from }, ...window.lives].slice(0, livesInState);
  if (no <= livesMax) return;
  const [forgotten] = await overlay.store.getEntries('lives', [orderKey(no - livesMax)]);
  overlay.note('lives', orderKey(no - livesMax), null);
  if (forgotten !== undefined) overlay.note('lives', utf8Decode(forgotten), null);
};
