import { mkdir } from 'node:fs/promises';
import { encodeInputEntry, type ServerEvent } from '@tidemark/merger';
import { TidemarkError } from '@tidemark/model';
import type {
  CheckpointFolder,
  Clock,
  InputLog,
  Marker,
  ServerStore,
  Timer,
} from '@tidemark/ports';
import { openInputLog, openServerStore, type Database } from '@tidemark/store-level';
import {
  openCheckpointFolder,
  openServerFolder,
  openStoreFolder,
} from '@tidemark/store-level/node';
import {
  checkedGenerationBytes,
  connectServer,
  openNatsInputLog,
  type NatsPlace,
  type NatsInputLog,
  type NatsServerConnection,
} from '@tidemark/transport-nats/server';
import { openCursorKey } from './cursor-key.js';
import { nodeCrypto } from '@tidemark/crypto-node';
import { systemEntropy } from './node-effects.js';

/** Databases of a server that keeps nothing in a folder, such as two of memory-level. */
export interface ServerDatabases {
  readonly store: Database;
  readonly input: Database;
}

/** NATS as the input of a server and the way of its replicas. */
export interface ServerNats {
  /** Where NATS is, or a connection that several tenants of this process share. */
  readonly connection: NatsPlace | NatsServerConnection;
  /** Bytes that the input may take, over all its generations; 1 GiB when left out. */
  readonly streamBytesMax?: number;
  /** Bytes at which a generation of the input ends and the next one begins; 256 MiB when left out. */
  readonly generationBytes?: number;
  /** Servers of the NATS cluster that store each message: 3 in production; 1 when left out. */
  readonly replicas?: number;
  /** Keeps input that checkpoints made superfluous, before it is removed. */
  readonly archive?: string | CheckpointFolder;
}

/** Where a server keeps its data. */
export type ServerPlace =
  | {
      readonly folder: string;
      readonly lostInput?: 'refuse' | 'set-aside';
      readonly cursorKey?: Uint8Array;
    }
  | {
      /** Folder of the store alone: the input lies in NATS, where other servers follow it, too. */
      readonly folder: string;
      readonly nats: ServerNats;
      /** Alike on all servers of the tenant: 32 random bytes. The folder's own when left out. */
      readonly cursorKey?: Uint8Array;
    }
  | { readonly database: ServerDatabases; readonly cursorKey?: Uint8Array };

/** Stores of a server, open. */
export interface ServerStores {
  readonly store: ServerStore;
  readonly input: InputLog;
  readonly cursorKey: Uint8Array;
  /** Bytes of the input when it was last looked at; undefined where it has no limit of its own. */
  readonly space: () => { readonly bytes: number; readonly bytesMax: number } | undefined;
  /** Connection over which replicas are served; undefined for a server in this process only. */
  readonly connection: NatsServerConnection | undefined;
  readonly close: () => Promise<void>;
}

/** What stores are opened with. */
export interface ServerStoresContext {
  readonly tenant: string;
  readonly clock: Clock;
  readonly timer: Timer;
  readonly onEvent: (event: ServerEvent) => void;
  /** A server that only looks ends no generation. */
  readonly isLooking: boolean;
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

type NatsServerPlace = Extract<ServerPlace, { readonly nats: ServerNats }>;

const openNatsStores = async (
  place: NatsServerPlace,
  { tenant, clock, timer, onEvent, isLooking }: ServerStoresContext,
): Promise<ServerStores> => {
  const { connection: given, streamBytesMax, replicas, archive } = place.nats;
  const hash = nodeCrypto.sha256;
  const roll = {
    bytes: checkedGenerationBytes(place.nats.generationBytes),
    first: encodeInputEntry({ kind: 'generation' }),
  };
  const store = await openStoreFolder(place.folder, { hash });
  let connection: NatsServerConnection | undefined;
  let input: NatsInputLog | undefined;
  const close = async (): Promise<void> => {
    await input?.close();
    // A connection that was given belongs to the caller.
    if (connection !== undefined && connection !== given) await connection.close();
    await store.close();
  };
  try {
    const cursorKey = place.cursorKey ?? (await openCursorKey(place.folder));
    connection = 'core' in given ? given : await connectServer(given, systemEntropy);
    void connection.ended.then((failure) => {
      if (failure !== undefined) onEvent({ type: 'connection-ended', code: failure.code });
    });
    input = await openNatsInputLog({
      connection,
      tenant,
      hash,
      clock,
      timer,
      entropy: systemEntropy,
      envelopeEntry: (caller, envelope) => encodeInputEntry({ kind: 'envelope', caller, envelope }),
      onLimitsRefused: (cause) =>
        onEvent({
          type: 'background-failed',
          work: 'changing the limits of the stream',
          code: cause instanceof TidemarkError ? cause.code : 'unreachable',
        }),
      onSpace: ({ bytes, bytesMax, alarm }) =>
        onEvent({ type: 'input-space', bytes, bytesMax, alarmPercent: alarm }),
      ...(isLooking ? {} : { roll }),
      ...(streamBytesMax === undefined ? {} : { bytesMax: streamBytesMax }),
      ...(replicas === undefined ? {} : { replicas }),
      ...(archive === undefined
        ? {}
        : { archive: typeof archive === 'string' ? openCheckpointFolder(archive) : archive }),
    });
    return { store, input, cursorKey, space: input.space, connection, close };
  } catch (cause) {
    await close();
    throw cause;
  }
};

/** Opens the stores of a server at its place. */
export const openServerStores = async (
  place: ServerPlace,
  context: ServerStoresContext,
): Promise<ServerStores> => {
  const hash = nodeCrypto.sha256;
  const { clock } = context;
  if ('nats' in place) return openNatsStores(place, context);
  if ('folder' in place) {
    await mkdir(place.folder, { recursive: true });
    const opened = await openServerFolder(place.folder, {
      hash,
      clock,
      ...(place.lostInput === undefined ? {} : { lostInput: place.lostInput }),
    });
    try {
      return {
        ...opened,
        cursorKey: place.cursorKey ?? (await openCursorKey(place.folder)),
        space: () => undefined,
        connection: undefined,
      };
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
    space: () => undefined,
    connection: undefined,
    close: async () => {
      await Promise.all([store.close(), input.close()]);
    },
  };
};
