import { utf8Decode, utf8Encode } from '@tidemark/model';
import type { ReplicaStore, StoreDamage } from '@tidemark/ports';
import type { LocalDamage, LostRange } from './local-replica.js';

/** Note that keeps the damage that was met until a run has repaired it. */
const damageNote = 'replica/damage';
/** Kinds of damage and lost ranges that the report lists at most: the first ones met. */
export const reportedDamagesMax = 1_000;

/** A report that names nothing. */
export const noDamage: LocalDamage = { found: [], newEpoch: false, lostFrom: null, lost: [] };

const isSame = (a: StoreDamage, b: StoreDamage): boolean =>
  a.kind === b.kind && a.where === b.where && a.count === b.count;

const covers = (ranges: readonly LostRange[], { from, to }: LostRange): boolean =>
  ranges.some((one) => one.from <= from && to <= one.to);

/** Damage met before and damage met now in one report: what both name stands in it once. */
export const joinDamage = (before: LocalDamage, now: LocalDamage): LocalDamage => ({
  found: [
    ...before.found,
    ...now.found.filter((one) => !before.found.some((other) => isSame(one, other))),
  ].slice(0, reportedDamagesMax),
  newEpoch: before.newEpoch || now.newEpoch,
  lostFrom: now.lostFrom ?? before.lostFrom,
  lost: [...before.lost, ...now.lost.filter((range) => !covers(before.lost, range))].slice(
    0,
    reportedDamagesMax,
  ),
});

/** Tells whether a report names anything. */
export const namesDamage = ({ found, newEpoch }: LocalDamage): boolean =>
  found.length > 0 || newEpoch;

/** Damage that an earlier opening met and no run has repaired. */
export const readDamage = async (store: ReplicaStore): Promise<LocalDamage> => {
  const bytes = await store.readNote(damageNote);
  return bytes === undefined ? noDamage : (JSON.parse(utf8Decode(bytes)) as LocalDamage);
};

/** The note that keeps a report; with null, the note's removal. */
export const damageNoteOf = (
  damage: LocalDamage | null,
): { readonly key: string; readonly value: Uint8Array | null } => ({
  key: damageNote,
  value: damage === null ? null : utf8Encode(JSON.stringify(damage)),
});
