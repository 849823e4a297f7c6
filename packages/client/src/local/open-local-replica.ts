import {
  equalBytes,
  isReplicaId,
  TidemarkError,
  toHex,
  utf8Decode,
  zeroHlc,
  type Customization,
} from '@tidemark/model';
import { damageNoteOf, joinDamage, namesDamage, noDamage, readDamage } from './damage-note.js';
import { Folding } from './folding.js';
import type { LocalDamage, LocalReplica, LocalReplicaOptions, LostRange } from './local-replica.js';
import { findLost, mendLog } from './log-mending.js';
import { decodeMark, headAt, rewrapped, writeMark, type PublishedMark } from './log-upkeep.js';
import { OpenedLocalReplica } from './opened-local-replica.js';
import { readCurrentOpen } from './open-ranges.js';
import { customizationNote, decodeState, metaNote, ReplicaCore, schemaOf } from './replica-core.js';
import {
  decodeMeta,
  initialMeta,
  type IndexMeta,
  type ReplicaMeta,
  type TableMeta,
} from './replica-meta.js';
import { adopt, backfillIndexes, followSchema, mergeIndexes } from './schema-adoption.js';
import { LayerStaging } from './staging.js';

const provisionalBytes = 16;
/** Layers that are cleared at most because lost batches may have begun them. */
const doubtedLayersMax = 256;

const createCore = async (options: LocalReplicaOptions): Promise<ReplicaCore> => {
  const { customization, entropy, tenant, user } = options;
  if (customization === undefined)
    throw new TidemarkError('invalid-option', 'a new replica needs a schema', { option: 'schema' });
  const replica = options.replica ?? toHex(entropy.bytes(16));
  if (!isReplicaId(replica))
    throw new TidemarkError('invalid-id', 'the replica id is not allowed', {});
  const provisional = toHex(entropy.bytes(provisionalBytes));
  const meta: ReplicaMeta = {
    ...initialMeta({ tenant, user, replica, provisional }),
    customizationVersion: customization.version,
    indexes: mergeIndexes({}, schemaOf(customization), true),
  };
  const core = new ReplicaCore(options, { meta, customization, hlc: zeroHlc });
  await core.commit({ meta, customization, hlc: zeroHlc, durability: 'disk' });
  await writeMark(core);
  return core;
};

const readCore = async (
  options: LocalReplicaOptions,
  metaBytes: Uint8Array,
): Promise<ReplicaCore> => {
  const meta = decodeMeta(metaBytes);
  if (meta.tenant !== options.tenant || meta.user !== options.user)
    throw new TidemarkError('folder-in-use', 'the store belongs to another user or tenant', {});
  const [state, json] = await Promise.all([
    options.store.readState(),
    options.store.readNote(customizationNote),
  ]);
  if (json === undefined)
    throw new TidemarkError('storage-damaged', 'the schema of the replica is missing', {});
  const customization = JSON.parse(utf8Decode(json)) as Customization;
  return new ReplicaCore(options, { meta, customization, hlc: decodeState(state) });
};

/** More runs than one batch holds: one for each index of a table. */
const runsPerBatchMax = 1_000;

/** Tells whether operations that were published are missing from the log, or differ. */
const lostPublished = async (
  core: ReplicaCore,
  mark: PublishedMark | undefined,
): Promise<boolean> => {
  const { publishedTo } = core.meta;
  const end = core.store.log.end().lastIndex;
  // Without its marker nobody knows how far the log was published before.
  if (mark === undefined) return publishedTo > 0;
  if (publishedTo > end || mark.publishedTo > end) return true;
  if (mark.publishedTo < core.store.log.firstIndex()) return false;
  const head = await headAt(core, mark.publishedTo);
  return head === undefined || !equalBytes(head, mark.head);
};

/**
 * State of a replica whose image lost batches: all tables are repaired by difference. The state may be older
 * than the rows: the layer that it stages, and those that the lost batches may have begun, can hold what was
 * written into them when they were current, so none of them is used again; neither are numbers of runs. Batches
 * may have held entries of indexes without their rows, which no comparison finds: indexes are built anew.
 */
const withDoubtedImage = (meta: ReplicaMeta, lostBatches: number): ReplicaMeta => {
  const { staging, nextLayer } = meta;
  const tables: Record<number, TableMeta> = {};
  for (const id of Object.keys(meta.tables).map(Number)) {
    const table = meta.tables[id] as TableMeta;
    const isFilling = staging?.filling.includes(id) === true;
    tables[id] = { ...table, ...(isFilling ? { state: 'empty' } : {}), repair: true };
  }
  const doubted = Array.from(
    { length: Math.min(lostBatches, doubtedLayersMax) },
    (_, i) => nextLayer + i,
  );
  const indexes: Record<number, readonly IndexMeta[]> = {};
  for (const id of Object.keys(meta.indexes).map(Number))
    indexes[id] = (meta.indexes[id] ?? []).map((index) => ({ ...index, ready: false }));
  return {
    ...meta,
    tables,
    indexes,
    staging: null,
    nextLayer: nextLayer + lostBatches,
    nextRun: (meta.nextRun ?? 1) + lostBatches * runsPerBatchMax,
    discarded: [...meta.discarded, ...(staging === null ? [] : [staging.layer]), ...doubted],
  };
};

/** Meets the damage that the store found: a new epoch for the log, repair by difference for the image. */
const meetDamage = async (
  core: ReplicaCore,
  mark: PublishedMark | undefined,
): Promise<LocalDamage> => {
  const { store, options } = core;
  const found = store.damage;
  const end = store.log.end().lastIndex;
  const before = await readDamage(store);
  const lost = await lostPublished(core, mark);
  let { meta } = core;
  // What is written from here on under the numbers of what was lost is not what the server knows by them.
  if (lost) {
    const provisional = toHex(options.entropy.bytes(provisionalBytes));
    const { epoch, ended } = meta;
    const tables: Record<number, TableMeta> = {};
    for (const [id, table] of Object.entries(meta.tables))
      tables[Number(id)] = { ...table, mergedTo: Math.min(table.mergedTo, end) };
    const change = { epoch, provisional, granted: false, above: end } as const;
    meta = { ...rewrapped(meta, change), ended, tables };
  }
  const lostBatches = found.reduce((sum, one) => (one.kind === 'image' ? sum + one.count : sum), 0);
  if (found.some(({ kind }) => kind === 'image')) meta = withDoubtedImage(meta, lostBatches);
  const publishedTo = Math.max(mark?.publishedTo ?? 0, meta.publishedTo);
  // Where the state was lost, too, an older one takes for merged what was written under the numbers of lost operations.
  const mergedTo = Math.min(core.meta.mergedTo, mark?.publishedTo ?? core.meta.mergedTo);
  const gone = await findHoles(core, publishedTo, mergedTo);
  const damage = joinDamage(before, {
    found,
    newEpoch: lost || gone.mend,
    lostFrom: publishedTo > end ? end + 1 : null,
    lost: gone.lost,
  });
  // What is mended here is not found again: should this opening fail behind it, the next one tells of it.
  const notes = namesDamage(damage) ? [damageNoteOf(damage)] : [];
  // With a reading of the clock the write answers the loss: later openings do not find it again.
  if (meta !== core.meta || notes.length > 0)
    await core.commit({ batch: { notes }, meta, hlc: core.hlc, durability: 'disk' });
  if (lost || mark?.publishedTo !== meta.publishedTo || mark.replica !== meta.replica)
    await writeMark(core);
  if (!gone.mend) return damage;
  if (await mendLog(core, gone.lost)) {
    core.logHasHoles = gone.covered;
    return damage;
  }
  const unmended = { ...damage, newEpoch: before.newEpoch || lost };
  await core.commit({ batch: { notes: [damageNoteOf(unmended)] } });
  return unmended;
};

/**
 * Finds operations missing in the middle of the log that no receipt covers. What was never published is
 * closed at once (`mend`); else the next run first asks how much of it the server has.
 */
const findHoles = async (
  core: ReplicaCore,
  publishedTo: number,
  mergedTo: number,
): Promise<{
  readonly lost: readonly LostRange[];
  readonly mend: boolean;
  readonly covered: boolean;
}> => {
  if (!core.store.damage.some(({ kind }) => kind === 'log-hole'))
    return { lost: [], mend: false, covered: false };
  const found = await findLost(core);
  const lost = found.filter(({ to }) => to > mergedTo);
  // What a receipt covers is needed again when the server is put back: the next uploads look at it anew.
  core.logHasHoles = found.length > 0;
  const [first] = lost;
  const mend = first !== undefined && first.from > publishedTo;
  return { lost, mend, covered: found.length > lost.length };
};

/** Finishes a flip that was cut. Blocks that are damaged end its staging alone: the next run downloads anew. */
const finishFlip = async (core: ReplicaCore, staging: LayerStaging): Promise<void> => {
  try {
    await staging.finish();
  } catch (cause) {
    const isDamaged = cause instanceof TidemarkError && cause.code === 'storage-damaged';
    if (!isDamaged || core.meta.staging !== null) throw cause;
  }
};

/**
 * Opens the local half of a replica; finishes a flip that a crash interrupted.
 *
 * Rejects with `folder-in-use` (another user or tenant), `store-missing`, `newer-format`,
 * `storage-damaged`, `destructive-change`, `invalid-option` (a new replica without schema).
 */
export const openLocalReplica = async (options: LocalReplicaOptions): Promise<LocalReplica> => {
  const metaBytes = await options.store.readNote(metaNote);
  const mark = decodeMark(await options.marker.read());
  let core: ReplicaCore;
  let damage: LocalDamage = { ...noDamage, found: options.store.damage };
  if (metaBytes === undefined) {
    if (mark !== undefined)
      throw new TidemarkError('store-missing', 'the marker knows a replica, the store does not', {
        publishedTo: mark.publishedTo,
      });
    core = await createCore(options);
  } else {
    core = await readCore(options, metaBytes);
    damage = await meetDamage(core, mark);
  }
  core.startWith(await readCurrentOpen(core.store, core.meta));
  const folding = new Folding(core);
  const staging = new LayerStaging(core, folding);
  if ((core.meta.staging?.closing ?? null) !== null) await finishFlip(core, staging);
  await core.turn.run(async () => {
    // What is staged brings no entries of new indexes along.
    if (core.meta.customizationVersion < core.schema.customization.version)
      await staging.abandonInTurn();
    await followSchema(core);
  });
  const { customization } = options;
  if (customization !== undefined)
    await core.turn.run(async () => {
      if (customization.version <= core.schema.customization.version) return;
      await staging.abandonInTurn();
      await adopt(core, customization);
    });
  await backfillIndexes(core);
  return new OpenedLocalReplica(core, { staging, folding, damage });
};
