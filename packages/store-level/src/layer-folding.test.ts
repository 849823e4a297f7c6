import { MemoryLevel } from 'memory-level';
import { expect, test } from 'vitest';
import type { DatabaseOperation } from './database.js';
import { foldStep } from './layer-folding.js';
import { layerOperations } from './layer-rows.js';

test('[STO-68] an altered value moves as it is: one of them does not end the folding', async () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const view = (id: string, value: Uint8Array | null) =>
    ({ space: 'view', layer: 2, table: 1, id, value }) as const;
  const puts = layerOperations([view('a', new Uint8Array([7])), view('b', null), view('c', null)]);
  const values = puts.map((one) => ('value' in one ? one.value : new Uint8Array(0)));
  // Of the first one a byte of the value is altered, of the last one a byte of the check.
  for (const [at, byte] of [
    [0, 5],
    [2, 1],
  ] as const)
    (values[at] as Uint8Array)[byte] = ((values[at] as Uint8Array)[byte] ?? 0) ^ 1;
  await database.batch(puts as DatabaseOperation[]);
  const step = await foldStep(database, { from: 2, into: 1, isOldest: true }, 10, undefined);
  expect(step.done).toBe(true);
  await database.batch(step.operations as DatabaseOperation[]);
  const kept = await database.values().all();
  expect(kept.map((value) => [...value])).toEqual(
    [values[0], values[2]].map((value) => [...(value as Uint8Array)]),
  );
});
