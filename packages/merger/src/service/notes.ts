import { utf8Decode, utf8Encode } from '@tidemark/model';
import type { ServerStore } from '@tidemark/ports';

/*
 * Notes of the service live in space `sync-logs` beside the logs: no merge reads them.
 *
 *   log/<received, 15 digits>/<replica>/<run>     sync log
 *   mark/<incarnation, 10 digits>/<n, 15 digits>  when the feed reached a version, and its bytes then
 *   horizon                                       version up to which the feed was cut
 */

const digits = (value: number, count: number): string => String(value).padStart(count, '0');

/** Key of a sync log. */
export const logKey = (receivedMs: number, replica: string, run: string): string =>
  `log/${digits(receivedMs, 15)}/${replica}/${run}`;

/** Key of a mark of the feed. */
export const markKey = (incarnation: number, n: number): string =>
  `mark/${digits(incarnation, 10)}/${digits(n, 15)}`;

/** Key of the horizon. */
export const horizonKey = 'horizon';

/** Writes a JSON note; null removes it. */
export const putNote = (store: ServerStore, key: string, json: unknown): Promise<void> =>
  store.putEntries([
    { space: 'sync-logs', key, value: json === null ? null : utf8Encode(JSON.stringify(json)) },
  ]);

/** Reads a JSON note that this engine wrote. */
export const readNote = async <A>(store: ServerStore, key: string): Promise<A | undefined> => {
  const [bytes] = await store.getEntries('sync-logs', [key]);
  return bytes === undefined ? undefined : (JSON.parse(utf8Decode(bytes)) as A);
};
