import {
  openLocalReplica,
  replicaOn,
  type AnySchema,
  type CompressionMode,
  type Credentials,
  type Replica,
  type ReplicaEvent,
} from '@tidemark/client';
import type { Scope } from '@tidemark/filter';
import { TidemarkError } from '@tidemark/model';
import type {
  Clock,
  Durability,
  Entropy,
  FieldCrdt,
  Logger,
  Timer,
  Transport,
} from '@tidemark/ports';
import { openReplicaFolder } from '@tidemark/store-level/node';
import { nodeCompression, nodeCrypto } from '@tidemark/crypto-node';
import { openInstallationKey } from './installation-key.js';
import { systemClock, systemEntropy, systemTimer } from './node-effects.js';

/** Options of `openReplica`. */
export interface OpenReplicaOptions<S extends AnySchema> {
  /** Folder of the replica's files; created when it is not there. One process at a time. */
  readonly folder: string;
  readonly tenant: string;
  readonly user: string;
  /** Schema of the application. A newer one that the server published takes its place. */
  readonly schema: S;
  /** Way to the server; the replica works without it until it is there. */
  readonly transport: Transport;
  /** What the replica holds; every user table whole when left out. */
  readonly scope?: Scope;
  /** Durability of edits unless a call says otherwise; `os` when left out. */
  readonly durability?: Durability;
  /**
   * Called when the server asks who is there, for a token that enrols the replica: a one-time token, or one that
   * the server's `authenticate` takes. It may wait for a person; edits go on, and sync follows by itself.
   */
  readonly credentials?: () => Promise<Credentials>;
  /** Public keys (hexadecimal) that sign the server's receipts, if they came with the device file. */
  readonly receiptKeys?: readonly string[];
  /**
   * When pages travel packed: `auto`, the default, where round trips or bytes per second show a slow link, and where the
   * server has them packed already; `always`; `never`. A server that cannot pack sends them as they are.
   */
  readonly compression?: CompressionMode;
  readonly logger?: Logger;
  readonly onEvent?: (event: ReplicaEvent) => void;
  /** Clock, chance and timer of the system when left out. */
  readonly clock?: Clock;
  readonly entropy?: Entropy;
  readonly timer?: Timer;
}

/** Loads Automerge at its first use: replicas without text fields never pay for it. */
const lazyCrdt = (): (() => Promise<FieldCrdt>) => {
  let loading: Promise<FieldCrdt> | undefined;
  return () => {
    loading ??= import('@tidemark/crdt-automerge').then(({ loadAutomergeCrdt }) =>
      loadAutomergeCrdt({ hash: nodeCrypto.sha256 }),
    );
    return loading;
  };
};

const compressionModes: readonly unknown[] = ['auto', 'always', 'never', undefined];

const requireText = (name: string, value: unknown): void => {
  if (typeof value !== 'string' || value === '' || value.length > 255)
    throw new TidemarkError('invalid-option', `${name} is a text of 1 to 255 characters`, {
      option: name,
    });
};

/**
 * Opens the replica of a folder, and begins a new one when the folder is empty.
 *
 * Rejects with `folder-in-use` (another process, user or tenant), `store-missing`, `storage-damaged`
 * (beyond repair), `newer-format`, `storage-unavailable`, `invalid-option`, `invalid-scope`. Damage that
 * the replica can heal by itself is told by event `damage`.
 */
export const openReplica = async <S extends AnySchema>(
  options: OpenReplicaOptions<S>,
): Promise<Replica<S>> => {
  const { folder, tenant, user, schema, transport } = options;
  for (const [name, value] of Object.entries({ folder, tenant, user })) requireText(name, value);
  if (!compressionModes.includes(options.compression))
    throw new TidemarkError('invalid-option', 'compression is auto, always or never', {
      option: 'compression',
    });
  const clock = options.clock ?? systemClock;
  const entropy = options.entropy ?? systemEntropy;
  const { store, marker } = await openReplicaFolder(folder, { hash: nodeCrypto.sha256 });
  try {
    const local = await openLocalReplica({
      tenant,
      user,
      customization: schema.customization,
      store,
      marker,
      clock,
      entropy,
      crypto: nodeCrypto,
      crdt: lazyCrdt(),
      ...(options.durability === undefined ? {} : { durability: options.durability }),
    });
    return await replicaOn<S>({
      local,
      transport,
      clock,
      entropy,
      timer: options.timer ?? systemTimer,
      crypto: nodeCrypto,
      compression: nodeCompression,
      ...(options.compression === undefined ? {} : { compress: options.compression }),
      identity: {
        secret: () => openInstallationKey(folder),
        ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
        ...(options.receiptKeys === undefined ? {} : { receiptKeys: options.receiptKeys }),
      },
      onClosed: () => store.close(),
      ...(options.scope === undefined ? {} : { scope: options.scope }),
      ...(options.logger === undefined ? {} : { logger: options.logger }),
      ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
    });
  } catch (error) {
    // The folder is free again for whoever may open it.
    await store.close().catch(() => undefined);
    throw error;
  }
};
