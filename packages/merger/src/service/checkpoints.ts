import { TidemarkError, toHex, utf8Decode, utf8Encode, type Hash } from '@tidemark/model';
import type { CheckpointFolder, InputPosition } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';
import { decodeReplicaState } from '../fold/replica-state.js';
import type { AppliedStore } from './applied-store.js';
import type { ArchivedLog } from './replica-register.js';

/** Newest format of manifests: in the second, segments may hold long texts as changes. */
export const manifestFormat = 2;
/** Checkpoints kept when nothing else is asked for. */
export const checkpointsKeptDefault = 3;
/** Replicas whose receipts a manifest lists; a replica beyond keeps its log a little longer. */
export const manifestReplicasMax = 8_000;
const replicasPage = 1_000;

/** What a checkpoint says of itself. */
export interface CheckpointManifest {
  readonly format: number;
  readonly tenant: string;
  readonly incarnation: number;
  readonly n: number;
  /** Last message of the input inside, and its hash (hexadecimal). */
  readonly position: InputPosition;
  readonly inputHash: string;
  readonly digest: string;
  readonly customizationVersion: number;
  /** Per replica: epoch and last index inside. */
  readonly receipts: Readonly<Record<string, readonly [epoch: number, mergedTo: number]>>;
  /** Hash of the fields above. */
  readonly check: string;
}

type ManifestBody = Omit<CheckpointManifest, 'check'>;

const checkOf = (body: ManifestBody, hash: Hash): string =>
  toHex(hash(utf8Encode(JSON.stringify(body))).subarray(0, 16));

/** Name of a checkpoint: names ascend with incarnation and version. */
export const checkpointName = (incarnation: number, n: number): string =>
  `${String(incarnation).padStart(6, '0')}-${String(n).padStart(15, '0')}`;

/** Greatest incarnation that a checkpoint's name tells of, also of one that cannot be read; 0 without any. */
export const greatestIncarnation = async (
  folder: CheckpointFolder | undefined,
): Promise<number> => {
  let greatest = 0;
  for (const name of (await folder?.list()) ?? []) {
    const [, incarnation] = /^(\d+)-\d+$/.exec(name) ?? [];
    greatest = Math.max(greatest, Number(incarnation ?? 0));
  }
  return greatest;
};

/** Reads a manifest. Rejects with `checkpoint-invalid` or `newer-format`. */
export const readManifest = async (
  folder: CheckpointFolder,
  name: string,
  tenant: string,
  hash: Hash,
): Promise<CheckpointManifest> => {
  let manifest: CheckpointManifest;
  try {
    manifest = JSON.parse(utf8Decode(await folder.readManifest(name))) as CheckpointManifest;
  } catch (cause) {
    if (cause instanceof TidemarkError) throw cause;
    throw new TidemarkError('checkpoint-invalid', `the manifest of ${name} is damaged`, {}, cause);
  }
  if (manifest.format !== 1 && manifest.format !== manifestFormat)
    throw new TidemarkError('newer-format', `a newer version wrote checkpoint ${name}`);
  const { check, ...body } = manifest;
  if (checkOf(body, hash) !== check)
    throw new TidemarkError('checkpoint-invalid', `the manifest of ${name} is damaged`);
  if (manifest.tenant !== tenant)
    throw new TidemarkError('checkpoint-invalid', `checkpoint ${name} is of another tenant`);
  return manifest;
};

/** A checkpoint that can be read, with the names of newer ones that cannot. */
export interface ReadableCheckpoint {
  readonly name: string;
  readonly manifest: CheckpointManifest;
  readonly unreadable: readonly string[];
}

/**
 * Checkpoints that can be read, newest first; those known as `damaged` are not tried again. Rejects with
 * `checkpoint-invalid` when there are some and none can be read.
 */
export const readableCheckpoints = async function* (
  folder: CheckpointFolder,
  tenant: string,
  hash: Hash,
  damaged: ReadonlySet<string>,
): AsyncGenerator<ReadableCheckpoint, undefined> {
  const names = await folder.list();
  const unreadable: string[] = [];
  for (const name of [...names].reverse()) {
    if (damaged.has(name)) {
      unreadable.push(name);
      continue;
    }
    let manifest: CheckpointManifest;
    try {
      manifest = await readManifest(folder, name, tenant, hash);
    } catch (cause) {
      if (!(cause instanceof TidemarkError) || cause.code !== 'checkpoint-invalid') throw cause;
      unreadable.push(name);
      continue;
    }
    yield { name, manifest, unreadable: [...unreadable] };
  }
  if (unreadable.length > 0 && unreadable.length === names.length)
    throw new TidemarkError('checkpoint-invalid', 'no checkpoint can be read', {
      checkpoints: unreadable,
    });
};

/** Newest checkpoint that can be read; rejects as `readableCheckpoints` does. */
export const newestCheckpoint = async (
  folder: CheckpointFolder,
  tenant: string,
  hash: Hash,
  damaged: ReadonlySet<string> = new Set(),
): Promise<ReadableCheckpoint | undefined> =>
  (await readableCheckpoints(folder, tenant, hash, damaged).next()).value;

const readReceipts = async (
  applied: AppliedStore,
): Promise<Record<string, readonly [number, number]>> => {
  const receipts: Record<string, readonly [number, number]> = {};
  let gt = '';
  for (let count = 0; count < manifestReplicasMax;) {
    const page = await applied.store.scanEntries('replicas', {
      gt,
      lt: '\u{10ffff}',
      limit: Math.min(replicasPage, manifestReplicasMax - count),
    });
    for (const { key, value } of page) {
      const { epoch, mergedTo } = decodeReplicaState(value);
      receipts[key] = [epoch, mergedTo];
      gt = key;
    }
    count += page.length;
    if (page.length === 0) break;
  }
  return receipts;
};

/** Checkpoints of a server. */
export interface Checkpoints {
  /** Writes one now; undefined when the newest one is of this very version. One at a time. */
  readonly write: () => Promise<CheckpointManifest | undefined>;
  readonly newest: () => CheckpointManifest | undefined;
  /** What the newest checkpoint of this line holds of a replica's log. */
  readonly archived: (replica: string) => ArchivedLog | undefined;
}

/** Options of `createCheckpoints`. */
export interface CheckpointOptions {
  readonly folder: CheckpointFolder;
  readonly keep: number;
  readonly tenant: string;
  readonly hash: Hash;
  readonly newest: CheckpointManifest | undefined;
  /** Names of checkpoints that could not be loaded: they are written anew, whatever their manifest says. */
  readonly damaged: ReadonlySet<string>;
  /** Called with the oldest position that a kept checkpoint needs. */
  readonly onWritten: (oldest: InputPosition) => Promise<void>;
}

/** Looks for the oldest checkpoint, while other servers remove what was found. */
const oldestLooksMax = 8;

/** Lets go of the snapshot of a dump that nobody reads. */
const endDump = async (chunks: AsyncIterable<Uint8Array>): Promise<void> => {
  const iterator = chunks[Symbol.asyncIterator]();
  // One that was never read has no end that would be run.
  await iterator.next();
  await iterator.return?.();
};

/** Builds the checkpoints of an applied store. */
export const createCheckpoints = (
  applied: AppliedStore,
  options: CheckpointOptions,
): Checkpoints => {
  const { folder, keep, tenant, hash } = options;
  let newest = options.newest;
  const damaged = new Set(options.damaged);
  let running: Promise<CheckpointManifest | undefined> | null = null;

  const isOfThisLine = (manifest: CheckpointManifest, state: FoldState): boolean =>
    manifest.incarnation === state.incarnation && manifest.n <= state.n;

  const write = async (): Promise<CheckpointManifest | undefined> => {
    // Manifest and iterator belong together; the iterator's snapshot outlives the pause of the fold.
    const begun = await applied.alone(async () => {
      const state = applied.applied();
      if (newest?.incarnation === state.incarnation && newest.n === state.n) return undefined;
      const body: ManifestBody = {
        format: manifestFormat,
        tenant,
        incarnation: state.incarnation,
        n: state.n,
        position: state.position,
        inputHash: state.lastHash,
        digest: state.digest,
        customizationVersion: state.customizationVersion,
        receipts: await readReceipts(applied),
      };
      return {
        manifest: { ...body, check: checkOf(body, hash) },
        chunks: applied.store.dump(),
      };
    });
    if (begun !== undefined) {
      await store(begun.manifest, begun.chunks);
      newest = begun.manifest;
      const own = checkpointName(newest.incarnation, newest.n);
      // What sorts above it is another server's, or of a line that was lost: with that no server of this line begins.
      const names = (await folder.list()).filter((name) => name <= own);
      for (const old of names.slice(0, Math.max(0, names.length - keep))) await folder.remove(old);
    }
    // Also without a new one: what others still needed at the last time may have become superfluous.
    const oldest = await oldestKept();
    if (oldest !== undefined) await options.onWritten(oldest.position);
    return begun?.manifest;
  };
  /** Oldest checkpoint kept. Between look and reading another server may remove it: then the next one is. */
  const oldestKept = async (): Promise<CheckpointManifest | undefined> => {
    for (let looks = 1; ; looks += 1) {
      const [oldest] = await folder.list();
      if (oldest === undefined) return undefined;
      try {
        return await readManifest(folder, oldest, tenant, hash);
      } catch (cause) {
        const isThere = (await folder.list()).includes(oldest);
        if (isThere || looks >= oldestLooksMax) throw cause;
      }
    }
  };
  /** Other servers that share the folder may write the same checkpoint at the same time. */
  const store = async (
    manifest: CheckpointManifest,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<void> => {
    const name = checkpointName(manifest.incarnation, manifest.n);
    const look = async (): Promise<'none' | 'same' | 'other'> => {
      if (!(await folder.list()).includes(name)) return 'none';
      if (damaged.has(name)) return 'other';
      const found = await readManifest(folder, name, tenant, hash).catch(() => undefined);
      return found?.digest === manifest.digest ? 'same' : 'other';
    };
    const found = await look();
    if (found === 'same') return endDump(chunks);
    // Only what is listed: what is not may be another server's that is being written.
    if (found === 'other') await folder.remove(name);
    damaged.delete(name);
    try {
      await folder.write(name, utf8Encode(JSON.stringify(manifest)), chunks);
    } catch (cause) {
      await endDump(chunks);
      if ((await look()) !== 'same') throw cause;
    }
  };
  return {
    write: () => {
      running ??= write().finally(() => {
        running = null;
      });
      return running;
    },
    newest: () => newest,
    archived: (replica) => {
      if (newest === undefined || !isOfThisLine(newest, applied.applied())) return undefined;
      const receipt = newest.receipts[replica];
      return receipt === undefined ? undefined : { epoch: receipt[0], mergedTo: receipt[1] };
    },
  };
};
