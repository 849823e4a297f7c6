import { jetstreamManager, StorageType } from '@nats-io/jetstream';
import { nuid } from '@nats-io/nats-core';
import { Objm, type ObjectInfo, type ObjectStore } from '@nats-io/obj';
import { TidemarkError } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';
import type { NatsServerConnection } from './server-connection.js';
import { refusalIn, streamFailure } from './stream-store.js';
import { tenantToken } from './subjects.js';

/** Bytes of a checkpoint that lie in one object: writing and reading hold no more than this in memory. */
export const checkpointPartBytesMax = 4 * 1024 * 1024;
/** Bytes that a chunk of a checkpoint has at most when it is read. */
const chunkBytesMax = 256 * 1024;
/** Maximum size of a manifest: it is read whole. */
const manifestBytesMax = 1024 * 1024;
/** Age at which parts without a manifest count as left behind by a server that was killed, ms. */
export const stalePartMs = 60 * 60 * 1000;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Options of `openNatsCheckpoints`. */
export interface NatsCheckpointsOptions {
  readonly connection: NatsServerConnection;
  readonly tenant: string;
  /** Servers of the cluster that store each checkpoint; 1 when left out. */
  readonly replicas?: number;
  /** Bytes that all checkpoints of the tenant may take; no limit but that of NATS when left out. */
  readonly bytesMax?: number;
}

/*
 * Objects of the bucket:
 *
 *   part/<name>/<token>/<number>   bytes of the checkpoint, in order; each writer has a token of its own
 *   manifest/<name>                stored last and removed first; says which token's parts, and how many
 *
 * Several servers may write one checkpoint at once. The first manifest stands, and nobody removes parts that a
 * writer at work has stored, but that one itself.
 */
interface Parts {
  readonly token: string;
  readonly count: number;
}
const partsPrefix = (name: string, token: string): string => `part/${name}/${token}/`;
const partName = (name: string, token: string, part: number): string =>
  `${partsPrefix(name, token)}${String(part).padStart(8, '0')}`;
const manifestName = (name: string): string => `manifest/${name}`;
const isManifest = ({ name }: ObjectInfo): boolean => name.startsWith('manifest/');

const partsIn = ({ metadata }: ObjectInfo): Parts | undefined => {
  const { token = '', parts = '' } = metadata ?? {};
  return token !== '' && /^\d{1,8}$/.test(parts) ? { token, count: Number(parts) } : undefined;
};

const bucketOf = (tenant: string): string => `CHECKPOINTS-${tenantToken(tenant)}`;

const failed = (cause: unknown, message: string): TidemarkError =>
  cause instanceof TidemarkError
    ? cause
    : new TidemarkError('storage-unavailable', message, {}, cause);

const isWellNamed = (name: string): boolean => namePattern.test(name);

const inUse = (name: string): TidemarkError =>
  new TidemarkError('invalid-option', `checkpoint ${name} exists`, { checkpoint: name });

const noCheckpoint = (name: string): TidemarkError =>
  new TidemarkError('checkpoint-invalid', `there is no checkpoint ${name}`, { checkpoint: name });

class NatsCheckpoints implements CheckpointFolder {
  readonly #options: NatsCheckpointsOptions;
  readonly #bucket: string;
  #store: Promise<ObjectStore> | undefined;

  constructor(options: NatsCheckpointsOptions) {
    this.#options = options;
    this.#bucket = bucketOf(options.tenant);
  }

  readonly write: CheckpointFolder['write'] = (name, manifest, chunks) =>
    this.#guarded(`checkpoint ${name} could not be written`, async (store) => {
      if (!isWellNamed(name))
        throw new TidemarkError('invalid-option', 'a checkpoint name is malformed');
      if (manifest.length > manifestBytesMax)
        throw new TidemarkError('invalid-option', `the manifest exceeds ${manifestBytesMax} bytes`);
      if ((await store.info(manifestName(name))) !== null) throw inUse(name);
      await this.#removeStale(store);
      const token = nuid.next();
      let parts = 0;
      try {
        for await (const part of partsOf(chunks)) {
          await store.putBlob({ name: partName(name, token, parts) }, part);
          parts += 1;
        }
        const metadata = { token, parts: String(parts) };
        // Another server may have stored its own meanwhile: that one stands.
        const none = { previousRevision: 0 };
        await store.putBlob({ name: manifestName(name), metadata }, manifest, none);
      } catch (cause) {
        // The failure matters, not whether its parts could be removed: a later write removes them as well.
        await this.#withdraw(store, name, { token, count: parts }).catch(() => undefined);
        throw refusalIn(cause) === 'wrong-sequence' ? inUse(name) : cause;
      }
    });

  readonly list = (): Promise<readonly string[]> =>
    this.#looking('the checkpoints cannot be listed', async (store) => {
      if (store === undefined) return [];
      const names = (await store.list())
        .filter((one) => !one.deleted && isManifest(one))
        .map(({ name }) => name.slice('manifest/'.length));
      return names.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    });

  readonly readManifest = (name: string): Promise<Uint8Array> =>
    this.#looking(`the manifest of ${name} cannot be read`, async (store) => {
      await this.#partsOf(store, name);
      const body = await store?.getBlob(manifestName(name));
      if (body === null || body === undefined) throw noCheckpoint(name);
      return body;
    });

  readonly readChunks = (name: string): AsyncIterable<Uint8Array> => this.#read(name);

  readonly remove = (name: string): Promise<void> =>
    this.#looking(`checkpoint ${name} could not be removed`, async (store) => {
      if (!isWellNamed(name))
        throw new TidemarkError('invalid-option', 'a checkpoint name is malformed');
      if (store === undefined) return;
      const manifest = await store.info(manifestName(name));
      await this.#removeObject(store, manifestName(name));
      const parts = manifest === null ? undefined : partsIn(manifest);
      if (parts !== undefined)
        for (const one of await store.list())
          if (one.name.startsWith(partsPrefix(name, parts.token)))
            await this.#removeObject(store, one.name);
      await this.#removeStale(store);
    });

  async *#read(name: string): AsyncGenerator<Uint8Array> {
    const unreadable = `checkpoint ${name} cannot be read`;
    const { token, count } = await this.#looking(unreadable, (store) => this.#partsOf(store, name));
    for (let part = 0; part < count; part += 1) {
      const bytes = await this.#looking(unreadable, (store) =>
        Promise.resolve(store?.getBlob(partName(name, token, part))),
      );
      if (bytes === null || bytes === undefined)
        throw new TidemarkError('checkpoint-invalid', `checkpoint ${name} lacks a part`, { part });
      for (let at = 0; at < bytes.length; at += chunkBytesMax)
        yield bytes.subarray(at, at + chunkBytesMax);
    }
  }

  async #partsOf(store: ObjectStore | undefined, name: string): Promise<Parts> {
    if (!isWellNamed(name))
      throw new TidemarkError('invalid-option', 'a checkpoint name is malformed');
    const manifest = (await store?.info(manifestName(name))) ?? null;
    const parts = manifest === null || manifest.deleted ? undefined : partsIn(manifest);
    if (parts === undefined) throw noCheckpoint(name);
    return parts;
  }

  /** Takes back what a write has stored; what stays when NATS is away becomes stale. */
  async #withdraw(store: ObjectStore, name: string, { token, count }: Parts): Promise<void> {
    const manifest = await store.info(manifestName(name));
    // Its word was lost, and yet it was stored.
    if (manifest !== null && partsIn(manifest)?.token === token)
      await this.#removeObject(store, manifestName(name));
    for (let part = 0; part <= count; part += 1)
      await this.#removeObject(store, partName(name, token, part));
  }

  /** Removes an object with its history: nothing of it stays in the stream. */
  async #removeObject(store: ObjectStore, name: string): Promise<void> {
    const info = await store.info(name);
    if (info === null) return;
    const manager = await jetstreamManager(this.#options.connection.core, { checkAPI: false });
    const stream = `OBJ_${this.#bucket}`;
    const key = btoa(name).replaceAll('+', '-').replaceAll('/', '_');
    await manager.streams.purge(stream, { filter: `$O.${this.#bucket}.M.${key}` });
    await manager.streams.purge(stream, { filter: `$O.${this.#bucket}.C.${info.nuid}` });
  }

  /** Removes what writers that died have left: parts that no manifest names, and beside which none came for long. */
  async #removeStale(store: ObjectStore): Promise<void> {
    const all = await store.list();
    const named = new Set(all.flatMap((one) => (isManifest(one) ? [partsIn(one)?.token] : [])));
    const writerOf = ({ name }: ObjectInfo): string => name.split('/')[2] ?? '';
    const orphans = all.filter((one) => one.name.startsWith('part/') && !named.has(writerOf(one)));
    const newestMs = new Map<string, number>();
    for (const one of orphans) {
      const atMs = Date.parse(one.mtime);
      newestMs.set(writerOf(one), Math.max(newestMs.get(writerOf(one)) ?? atMs, atMs));
    }
    for (const one of orphans)
      if (Date.now() - (newestMs.get(writerOf(one)) ?? 0) > stalePartMs)
        await this.#removeObject(store, one.name);
  }

  /** Work that only looks: without any checkpoint yet there is nothing, and nothing is made. */
  async #looking<A>(
    message: string,
    work: (store: ObjectStore | undefined) => Promise<A>,
  ): Promise<A> {
    try {
      return await work(await (this.#store ?? this.#find()));
    } catch (cause) {
      throw failed(cause, message);
    }
  }

  async #find(): Promise<ObjectStore | undefined> {
    const { core } = this.#options.connection;
    const manager = await jetstreamManager(core, { checkAPI: false });
    try {
      await manager.streams.info(`OBJ_${this.#bucket}`);
    } catch (cause) {
      if (refusalIn(cause) === 'missing') return undefined;
      throw cause;
    }
    const store = await new Objm(core).open(this.#bucket, false);
    this.#store ??= Promise.resolve(store);
    return store;
  }

  async #guarded<A>(message: string, work: (store: ObjectStore) => Promise<A>): Promise<A> {
    try {
      this.#store ??= this.#open();
      return await work(await this.#store);
    } catch (cause) {
      throw failed(cause, message);
    }
  }

  async #open(): Promise<ObjectStore> {
    const { connection, replicas = 1, bytesMax = -1 } = this.#options;
    try {
      return await new Objm(connection.core).create(this.#bucket, {
        storage: StorageType.File,
        replicas,
        max_bytes: bytesMax,
      });
    } catch (cause) {
      // The next call tries again.
      this.#store = undefined;
      throw cause;
    }
  }
}

/** Pieces of bounded size, whatever the chunks. */
async function* partsOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let part = new Uint8Array(checkpointPartBytesMax);
  let filled = 0;
  for await (const chunk of chunks)
    for (let at = 0; at < chunk.length;) {
      const count = Math.min(chunk.length - at, part.length - filled);
      part.set(chunk.subarray(at, at + count), filled);
      at += count;
      filled += count;
      if (filled < part.length) continue;
      yield part;
      part = new Uint8Array(checkpointPartBytesMax);
      filled = 0;
    }
  if (filled > 0) yield part.subarray(0, filled);
}

/**
 * Opens the checkpoints of a tenant in NATS, in an object store that all its servers share. A checkpoint is
 * listed when all of it is stored. Rejects as a folder of checkpoints does.
 */
export const openNatsCheckpoints = (options: NatsCheckpointsOptions): CheckpointFolder =>
  new NatsCheckpoints(options);

/** Removes all checkpoints that NATS holds of a tenant; resolves with the names of the streams that are gone. */
export const removeNatsCheckpoints = async (
  connection: NatsServerConnection,
  tenant: string,
): Promise<readonly string[]> => {
  const stream = `OBJ_${bucketOf(tenant)}`;
  try {
    const manager = await jetstreamManager(connection.core, { checkAPI: false });
    await manager.streams.delete(stream);
    return [stream];
  } catch (cause) {
    if (refusalIn(cause) === 'missing') return [];
    throw streamFailure(cause);
  }
};
