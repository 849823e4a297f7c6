import { decodeCursor, type CursorState, type Mac } from '@tidemark/protocol';
import type { Result } from '@tidemark/model';

/** Cursors that a server remembers decoded: several parts of one request read the same one. */
const cursorsKnownMax = 16;

/** Under the server's own code: what one key made says nothing to another. */
const known = new WeakMap<Mac, Map<string, CursorState>>();

/** As `decodeCursor`, whose answer depends on the text and the key alone; what was asked lately is not decoded again. */
export const knownCursor = (text: string, mac: Mac): Result<'invalid-cursor', CursorState> => {
  const cursors = known.get(mac) ?? new Map<string, CursorState>();
  const state = cursors.get(text);
  if (state !== undefined) return { _tag: 'Right', right: state };
  const decoded = decodeCursor(text, mac);
  if (decoded._tag === 'Left') return decoded;
  known.set(mac, cursors);
  const [oldest] = cursors.keys();
  if (cursors.size >= cursorsKnownMax && oldest !== undefined) cursors.delete(oldest);
  cursors.set(text, decoded.right);
  return decoded;
};
