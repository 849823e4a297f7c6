import { mkdir } from 'node:fs/promises';
import type { Clock, InputLog, Marker, ServerStore } from '@tidemark/ports';
import { openInputLog, openServerStore, type Database } from '@tidemark/store-level';
import { openServerFolder } from '@tidemark/store-level/node';
import { openCursorKey } from './cursor-key.js';
import { nodeCrypto, systemEntropy } from './node-effects.js';

/** Databases of a server that keeps nothing in a folder, such as two of memory-level. */
export interface ServerDatabases {
  readonly store: Database;
  readonly input: Database;
}

/** Where a server keeps its data. */
export type ServerPlace =
  | { readonly folder: string; readonly lostInput?: 'refuse' | 'set-aside' }
  | { readonly database: ServerDatabases; readonly cursorKey?: Uint8Array };

/** Stores of a server, open. */
export interface ServerStores {
  readonly store: ServerStore;
  readonly input: InputLog;
  readonly cursorKey: Uint8Array;
  readonly close: () => Promise<void>;
}

const memoryMarker = (): Marker => {
  let kept: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(kept),
    write: (bytes) => {
      kept = bytes.slice();
      return Promise.resolve();
    },
  };
};

/** Opens the stores of a server at its place. */
export const openServerStores = async (place: ServerPlace, clock: Clock): Promise<ServerStores> => {
  const hash = nodeCrypto.sha256;
  if ('folder' in place) {
    await mkdir(place.folder, { recursive: true });
    const opened = await openServerFolder(place.folder, {
      hash,
      clock,
      ...(place.lostInput === undefined ? {} : { lostInput: place.lostInput }),
    });
    try {
      return { ...opened, cursorKey: await openCursorKey(place.folder) };
    } catch (cause) {
      await opened.close();
      throw cause;
    }
  }
  const { database } = place;
  const store = await openServerStore({ database: database.store, marker: memoryMarker(), hash });
  const input = await openInputLog({
    database: database.input,
    marker: memoryMarker(),
    hash,
    clock,
  });
  return {
    store,
    input,
    cursorKey: place.cursorKey ?? systemEntropy.bytes(32),
    close: async () => {
      await Promise.all([store.close(), input.close()]);
    },
  };
};
