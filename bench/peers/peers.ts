import { pouchdb } from './pouchdb.js';
import type { Peer } from './roles.js';
import { rxdb } from './rxdb.js';
import { tidemark } from './tidemark.js';
import { watermelondb } from './watermelondb.js';

/** Engines by name, in the order in which they are shown. */
export const peers: Readonly<Record<string, Peer>> = { tidemark, watermelondb, pouchdb, rxdb };

/** Package whose version is the engine's. */
export const packageOf: Readonly<Record<string, string>> = {
  watermelondb: '@nozbe/watermelondb',
  pouchdb: 'pouchdb',
  rxdb: 'rxdb',
};
