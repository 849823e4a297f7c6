import type { StoreDamage } from '@tidemark/ports';
import type { InputEnd } from './input-keys.js';
import type { InputHoles } from './input-state.js';
import { printRanges, type RingState } from './ordinal-ring.js';

/** Damage of the current generation: missing messages, else missing batches, and a missing tail. */
export const inputDamage = (
  end: InputEnd,
  holes: InputHoles,
  ring: RingState,
  markerOrdinal: number,
): readonly StoreDamage[] => {
  const damage: StoreDamage[] = [];
  if (holes.count > 0)
    damage.push({
      kind: 'log-hole',
      where: `generation ${end.generation}, messages ${printRanges(holes.ranges)}`,
      count: holes.count,
    });
  else if (ring.lostCount > 0)
    damage.push({
      kind: 'log-hole',
      where: `input batches ${printRanges(ring.lost)}`,
      count: ring.lostCount,
    });
  if (markerOrdinal > ring.head)
    damage.push({
      kind: 'log-tail',
      where: `input batches ${ring.head + 1}..${markerOrdinal} at the end`,
      count: markerOrdinal - ring.head,
    });
  return damage;
};
