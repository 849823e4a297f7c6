import { expectEqual } from './checks.js';
import { SeededRandom } from './seeded-random.js';
import { customizationOf } from './tables.js';
import { World } from './world.js';

const table = 'latest';
const record = 'r';
const devicesMax = 4;

interface Edit {
  readonly atMs: number;
  readonly kind: 'set' | 'increment' | 'type';
  readonly value: string;
  readonly by: number;
}

/** Fields of the record after the edits arrived in an order. Texts count by their characters. */
const ending = async (edits: readonly Edit[], order: readonly number[]): Promise<unknown> => {
  const world = new World(new SeededRandom(7));
  await world.openServer({});
  await world.time.run(world.merger.publish(customizationOf(1), 'admin'));
  const ops = [{ kind: 'upsert', table: 4, id: record, fields: { 1: 'A', 5: '-' } }] as const;
  await world.time.run(world.merger.submit({ kind: 'write', user: 'admin', ops }));
  const startMs = world.time.nowMs;
  for (let i = 0; i < edits.length; i += 1) {
    const name = `device-${i}`;
    const scope = { tables: 'all' } as const;
    const customization = customizationOf(1);
    await world.sync(await world.addDevice({ name, scope, clockOffsetMs: 0, customization }));
  }
  for (const [i, edit] of edits.entries()) {
    const replica = world.devices[i]?.replica;
    world.time.nowMs = startMs + edit.atMs;
    if (edit.kind === 'set') await replica?.update(table, record, { a: edit.value });
    else if (edit.kind === 'increment') await replica?.increment(table, record, 'count', edit.by);
    else await replica?.editText(table, record, 'note', { at: 0, remove: 0, insert: edit.value });
  }
  world.time.nowMs = startMs + 1_000_000;
  for (const i of order) {
    const device = world.devices[i];
    if (device !== undefined) await world.sync(device);
  }
  const row = (await world.rows(4)).get(record);
  await world.close();
  const { 5: note, ...fields } = row?.fields ?? {};
  return { ...fields, 5: [...String(note)].sort().join('') };
};

/**
 * Law: single edits made on the same base, deletes aside and with times that differ, end alike in every
 * order of arrival.
 */
export const checkArrivalOrder = async (seed: number): Promise<void> => {
  const random = new SeededRandom(seed);
  const count = 2 + random.below(devicesMax - 1);
  const edits = Array.from({ length: count }, (_, i): Edit => {
    return {
      // Clocks differ by more than what arrives: the order of times is another than that of edits.
      atMs: 1_000 + 10 * random.below(1_000) + i,
      kind: random.pick(['set', 'set', 'increment', 'type']),
      value: String.fromCharCode(97 + i),
      by: 1 + random.below(9),
    };
  });
  const straight = edits.map((_, i) => i);
  const shuffled = [...straight];
  for (let i = shuffled.length - 1; i > 0; i -= 1) {
    const j = random.below(i + 1);
    const [a, b] = [shuffled[i] ?? 0, shuffled[j] ?? 0];
    shuffled[i] = b;
    shuffled[j] = a;
  }
  const what = `seed ${seed}: ${JSON.stringify(edits)} in order ${JSON.stringify(shuffled)}`;
  expectEqual(what, await ending(edits, shuffled), await ending(edits, straight));
};
