import { tableMeta } from '@tidemark/client';
import { TidemarkError } from '@tidemark/model';
import type { DeviceActor } from './device-actor.js';
import type { SimWorld } from './sim-world.js';

/** Highest index that a page has covered in a table; undefined when the device holds no such table. */
const coveredTo = (local: NonNullable<DeviceActor['local']>, table: string): number | undefined => {
  const found = local.schema().tablesByName.get(table);
  if (found === undefined) return undefined;
  const meta = local.meta();
  const { mergedTo } = tableMeta(meta, found.id);
  // A table that fills for the first time is read from what is staged: its closing page shows before the flip.
  const closing = meta.staging?.filling.includes(found.id) === true ? meta.staging.closing : null;
  return closing === null ? mergedTo : Math.max(mergedTo, closing.info.mergedTo);
};

/** Whether a receipt covers an own edit, and no page does yet: here a view that trusts receipts flickers. */
export const awaitsPage = ({ local, own }: DeviceActor): boolean => {
  if (local === null || own.size === 0) return false;
  const { mergedTo } = local.meta();
  for (const [place, fields] of own.shown()) {
    let covered: number | undefined;
    for (const { index } of fields.values()) {
      if (index > mergedTo) continue;
      covered ??= coveredTo(local, place.slice(0, place.indexOf('/'))) ?? Infinity;
      if (index > covered) return true;
    }
  }
  return false;
};

const lookAt = async (world: SimWorld, device: DeviceActor, place: string): Promise<void> => {
  const { replica, local, own } = device;
  if (replica === null || local === null) return;
  const at = place.indexOf('/');
  const [table, record] = [place.slice(0, at), place.slice(at + 1)];
  const { changes } = own;
  const { mergedTo } = local.meta();
  const row = (await replica.get(table, record)) as Readonly<Record<string, unknown>> | undefined;
  if (device.local !== local || device.isEditing || own.changes !== changes) return;
  // Asked for only now: what was known when the look began may be of an edit that others have followed.
  const fields = own.fieldsOf(place);
  if (fields === undefined) return;
  const covered = coveredTo(local, table);
  if (covered === undefined || world.inexact.size > 0) return own.drop(place);
  for (const [field, { index, value }] of [...fields]) {
    if (index <= covered) {
      fields.delete(field);
      continue;
    }
    const shown = field === '' ? row : row?.[field];
    world.context.saw(
      index <= mergedTo
        ? 'an own edit was seen between its receipt and its page'
        : 'an own edit was seen before its receipt',
    );
    if (shown !== value)
      world.context.violate(
        'I11',
        `${device.name} does not show its own edit ${index} of ${place} ${field}: ` +
          `${JSON.stringify(shown)} and not ${JSON.stringify(value)}, merged to ${mergedTo}, covered to ${covered}`,
      );
  }
  if (fields.size === 0) own.drop(place);
};

/** Until a page with the verdict comes, whoever made an edit goes on seeing it. */
export const checkOwnEdits = async (world: SimWorld, device: DeviceActor): Promise<void> => {
  const { own, local } = device;
  if (own.size === 0 || device.isEditing) return;
  if (world.inexact.size > 0) return own.forget();
  try {
    for (const place of own.places()) {
      if (device.local !== local) return;
      await lookAt(world, device, place);
    }
  } catch (cause) {
    // A disk that fails and a device that closes show nothing at all.
    const { code } = cause as { readonly code?: string };
    const isKnown = code === 'storage-unavailable' || code === 'replica-closed';
    if (!(cause instanceof TidemarkError) || !isKnown) throw cause;
  }
};
