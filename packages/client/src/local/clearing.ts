import { toHex, zeroHlc, type TableId } from '@tidemark/model';
import type { LayerPut } from '@tidemark/ports';
import { visibleFields } from './edit-session.js';
import { pushIndexPuts } from './index-entries.js';
import { writeMark } from './log-upkeep.js';
import { encodeOpenRanges, OpenRanges, openNote } from './open-ranges.js';
import { indexesOf } from './op-runs.js';
import { decodeView, encodeView } from './pending-view.js';
import type { ReplicaCore } from './replica-core.js';
import { initialMeta, type TableMeta } from './replica-meta.js';
import { mergeIndexes } from './schema-adoption.js';
import { ViewBuilder } from './view-builder.js';

const viewsPerWrite = 200;

const allTables = (core: ReplicaCore): ReadonlyMap<TableId, null> =>
  new Map([...core.schema.tablesById.keys()].map((id) => [id, null]));

/**
 * Removes everything; the replica goes on under a new id, since its log starts again. `allow` is asked while
 * no edit is under way: what it throws refuses.
 */
export const clearEverything = (core: ReplicaCore, allow: () => void): Promise<void> =>
  core.turn.run(async () => {
    allow();
    // What was promised at `disk` is kept before it is removed: a clear may be cut off, too.
    await core.fsyncs.settled();
    const { meta, schema, options } = core;
    const { tenant, user, scopeText, scopeHash } = meta;
    await core.stamps.around('all', async () => {
      await core.store.clear();
      await core.commit({
        meta: {
          ...initialMeta({
            tenant,
            user,
            replica: toHex(options.entropy.bytes(16)),
            provisional: toHex(options.entropy.bytes(16)),
          }),
          customizationVersion: schema.customization.version,
          indexes: mergeIndexes({}, schema, true),
          scopeText,
          scopeHash,
        },
        customization: schema.customization,
        hlc: zeroHlc,
        open: new OpenRanges([]),
        durability: 'disk',
        touched: 'all',
      });
    });
    await writeMark(core);
    core.tell({ kind: 'flip', tables: allTables(core) });
  });

/** Removes the image and keeps the log: pending operations are shown on an empty image. */
export const clearImage = (core: ReplicaCore): Promise<void> =>
  core.turn.run(async () => {
    const layer = core.meta.nextLayer;
    await core.commit({ meta: { ...core.meta, nextLayer: layer + 1 } });
    const builder = new ViewBuilder(core);
    for (const table of core.schema.tablesById.values()) {
      let after: string | undefined;
      do {
        const page = await core.store.scanRows('view', table.id, {
          layers: core.meta.layers,
          limit: viewsPerWrite,
          ...(after === undefined ? {} : { after }),
        });
        const puts: LayerPut[] = [];
        for (const { id, value } of page.rows) {
          const view = await builder.build(table, id, null, indexesOf(decodeView(value).ops));
          if (view === null) continue;
          const target = { layer, table: table.id, id };
          puts.push({ space: 'view', ...target, value: encodeView(view) });
          pushIndexPuts(puts, target, core.indexesOf(table), [], visibleFields(view), false);
        }
        await core.commit({ batch: { puts } });
        after = page.next;
      } while (after !== undefined);
    }
    const { meta } = core;
    const tables: Record<TableId, TableMeta> = {};
    // What left the views stays out of them: only operations above a table's mergedTo are shown.
    for (const id of Object.keys(meta.tables).map(Number))
      tables[id] = {
        state: 'empty',
        at: 0,
        asOfMs: 0,
        mergedTo: (meta.tables[id] as TableMeta).mergedTo,
        repair: false,
      };
    // The sync errors leave with the image: what they said of own operations is kept until the next flip.
    const notes = [{ key: openNote, value: encodeOpenRanges(core.open) }];
    const dropped = meta.staging === null ? meta.layers : [meta.staging.layer, ...meta.layers];
    await core.commit({
      batch: { notes },
      meta: {
        ...meta,
        tables,
        layers: [layer],
        layerEntries: {},
        discarded: [...meta.discarded, ...dropped],
        staging: null,
        cursor: null,
      },
      touched: 'all',
      change: { kind: 'flip', tables: allTables(core) },
    });
  });
