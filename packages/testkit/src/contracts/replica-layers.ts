import { compareBytes, concatBytes, packBlocks, utf8Encode } from '@tidemark/model';
import type { IndexEntry, IndexRun, LayerPut, LayerSpace, ReplicaStore } from '@tidemark/ports';
import fc from 'fast-check';
import { expect } from 'vitest';

/** Bytes of a row that holds a text. */
export const row = (text: string): Uint8Array => utf8Encode(`["${text}"]`);
/** Put of a row, or of a marker when the text is null. */
export const put = (
  space: LayerSpace,
  layer: number,
  table: number,
  id: string,
  text: string | null,
): LayerPut => ({ space, layer, table, id, value: text === null ? null : row(text) });
/** Put of an entry of index 7 of table 1. */
export const indexPut = (
  layer: number,
  key: readonly number[],
  id: string,
  present: boolean,
): LayerPut => ({
  space: 'index',
  layer,
  table: 1,
  index: 7,
  key: new Uint8Array(key),
  id,
  present,
});
/** Run of index 7 of table 1. */
export const indexRun = (
  layer: number,
  run: number,
  entries: readonly (readonly [key: readonly number[], id: string])[],
): IndexRun => {
  const parts = entries.flatMap(([key, id]) => [new Uint8Array(key), utf8Encode(id)]);
  let end = 0;
  const ends = Uint32Array.from(parts, (part) => (end += part.length));
  return { layer, table: 1, index: 7, run, bytes: concatBytes(parts), ends };
};
/** Orders texts by their UTF-8 bytes, as ids are. */
export const byUtf8 = (a: string, b: string): number => compareBytes(utf8Encode(a), utf8Encode(b));

/** One step on the layers of a store and of its model. */
export type LayerStep =
  | {
      readonly tag: 'put';
      readonly layer: number;
      readonly id: string;
      readonly text: string | null;
    }
  | {
      readonly tag: 'index';
      readonly layer: number;
      readonly id: string;
      readonly key: number[];
      readonly present: boolean;
    }
  | {
      readonly tag: 'block';
      readonly layer: number;
      readonly ids: readonly string[];
      readonly text: string;
    }
  | {
      readonly tag: 'run';
      readonly layer: number;
      readonly entries: readonly (readonly [key: number[], id: string])[];
    }
  | { readonly tag: 'fold'; readonly limit: number }
  | { readonly tag: 'clear'; readonly layer: number; readonly limit: number };

const ids = fc.constantFrom('a', 'b', 'ba', 'c', '\u{1f600}', '\uffee', 'é');
const keys = fc.array(fc.constantFrom(0, 1, 254, 255), { maxLength: 3 });
/** Random steps on three layers. */
export const layerSteps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        tag: fc.constant('put' as const),
        layer: fc.integer({ min: 1, max: 3 }),
        id: ids,
        text: fc.option(fc.string({ maxLength: 4 })),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        tag: fc.constant('index' as const),
        layer: fc.integer({ min: 1, max: 3 }),
        id: ids,
        key: keys,
        present: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        tag: fc.constant('block' as const),
        layer: fc.integer({ min: 1, max: 3 }),
        ids: fc.uniqueArray(ids, { minLength: 1, maxLength: 4 }),
        text: fc.string({ maxLength: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        tag: fc.constant('run' as const),
        layer: fc.integer({ min: 1, max: 3 }),
        entries: fc.uniqueArray(fc.tuple(keys, ids), {
          ...{ minLength: 1, maxLength: 20, selector: (one) => JSON.stringify(one) },
        }),
      }),
    },
    fc.record({ tag: fc.constant('fold' as const), limit: fc.integer({ min: 1, max: 5 }) }),
    fc.record({
      tag: fc.constant('clear' as const),
      layer: fc.integer({ min: 1, max: 3 }),
      limit: fc.integer({ min: 1, max: 30 }),
    }),
  ),
  { maxLength: 40 },
);

/** Slow model of the layers: one map per layer from a printed key to a value, null a marker. */
export class LayerModel {
  readonly rows = new Map<number, Map<string, Uint8Array | null>>();
  readonly entries = new Map<number, Map<string, boolean>>();
  /** Greatest id of the blocks of each layer: the next block lies above it. */
  readonly blocksTo = new Map<number, string>();
  nextRun = 1;

  layer<A>(maps: Map<number, Map<string, A>>, layer: number): Map<string, A> {
    const found = maps.get(layer) ?? new Map<string, A>();
    maps.set(layer, found);
    return found;
  }

  move(from: number, into: number): void {
    for (const [key, value] of this.layer(this.rows, from))
      this.layer(this.rows, into).set(key, value);
    for (const [key, value] of this.layer(this.entries, from))
      this.layer(this.entries, into).set(key, value);
    const ends = [this.blocksTo.get(into), this.blocksTo.get(from)].filter(
      (id) => id !== undefined,
    );
    const end = ends.sort(byUtf8).at(-1);
    if (end !== undefined) this.blocksTo.set(into, end);
    this.drop(from);
  }

  drop(layer: number): void {
    this.rows.delete(layer);
    this.entries.delete(layer);
    this.blocksTo.delete(layer);
  }

  visibleRows(layers: readonly number[]): readonly { id: string; value: Uint8Array }[] {
    const seen = new Map<string, Uint8Array | null>();
    for (const layer of layers)
      for (const [id, value] of this.layer(this.rows, layer))
        if (!seen.has(id)) seen.set(id, value);
    return [...seen]
      .flatMap(([id, value]) => (value === null ? [] : [{ id, value }]))
      .sort((a, b) => byUtf8(a.id, b.id));
  }

  visibleEntries(layers: readonly number[]): readonly IndexEntry[] {
    const seen = new Map<string, boolean>();
    for (const layer of layers)
      for (const [key, present] of this.layer(this.entries, layer))
        if (!seen.has(key)) seen.set(key, present);
    return [...seen]
      .flatMap(([printed, present]) => {
        const [key, id] = JSON.parse(printed) as [number[], string];
        return present ? [{ key: new Uint8Array(key), id }] : [];
      })
      .sort((a, b) => compareBytes(a.key, b.key) || byUtf8(a.id, b.id));
  }
}

/** Takes a step on the store and on the model. */
export const applyStep = async (
  store: ReplicaStore,
  model: LayerModel,
  step: LayerStep,
): Promise<void> => {
  if (step.tag === 'put') {
    await store.write({ puts: [put('image', step.layer, 1, step.id, step.text)] }, 'os');
    model.layer(model.rows, step.layer).set(step.id, step.text === null ? null : row(step.text));
  } else if (step.tag === 'index') {
    await store.write({ puts: [indexPut(step.layer, step.key, step.id, step.present)] }, 'os');
    model.layer(model.entries, step.layer).set(JSON.stringify([step.key, step.id]), step.present);
  } else if (step.tag === 'block') {
    const end = model.blocksTo.get(step.layer);
    const above = step.ids.filter((id) => end === undefined || byUtf8(id, end) > 0).sort(byUtf8);
    const last = above.at(-1);
    if (last === undefined) return;
    const rows = above.map((id) => ({ id, value: row(step.text) }));
    const blocks = packBlocks(rows).map((block) => ({ layer: step.layer, table: 1, block }));
    await store.write({ blocks }, 'os');
    const known = model.layer(model.rows, step.layer);
    // A row of its own hides that of a block.
    for (const { id, value } of rows) if (!known.has(id)) known.set(id, value);
    model.blocksTo.set(step.layer, last);
  } else if (step.tag === 'run') {
    const known = model.layer(model.entries, step.layer);
    // In the oldest layer a fold may have ended a marker, or not: what a run brings under it is anybody's guess.
    const isFresh = (entry: unknown): boolean => !known.has(JSON.stringify(entry));
    const entries = step.layer === 1 ? step.entries.filter(isFresh) : step.entries;
    if (entries.length === 0) return;
    const runs = [indexRun(step.layer, model.nextRun, entries)];
    model.nextRun += 1;
    await store.write({ runs }, 'os');
    // An entry of its own hides that of a run, whichever was written first.
    for (const entry of entries.filter(isFresh)) known.set(JSON.stringify(entry), true);
  } else if (step.tag === 'fold') {
    // A started fold is finished: half of it is not visible in any list of layers that has both.
    while (!(await store.foldLayer(2, 1, step.limit, true)))
      await expectEqual(store, model, [
        [3, 2, 1],
        [2, 1],
      ]);
    model.move(2, 1);
  } else {
    for (let done = false; !done;) done = await store.clearLayer(step.layer, step.limit);
    model.drop(step.layer);
  }
};

/** Expects that all reads of the store over the given lists of layers equal the model's. */
export const expectEqual = async (
  store: ReplicaStore,
  model: LayerModel,
  layerLists: readonly (readonly number[])[],
): Promise<void> => {
  for (const layers of layerLists) {
    const expected = model.visibleRows(layers);
    const page = await store.scanRows('image', 1, { layers, limit: 100 });
    expect(page).toEqual({ rows: expected, next: undefined });
    const reversed = await store.scanRows('image', 1, { layers, limit: 100, reverse: true });
    expect(reversed.rows).toEqual([...expected].reverse());
    const half = expected[Math.floor(expected.length / 2)]?.id;
    if (half !== undefined) {
      const at = Math.floor(expected.length / 2);
      const parts = { layers, limit: 100 };
      const behind = await store.scanRows('image', 1, { ...parts, after: half });
      expect(behind.rows).toEqual(expected.slice(at + 1));
      const before = await store.scanRows('image', 1, { ...parts, after: half, reverse: true });
      expect(before.rows).toEqual(expected.slice(0, at).reverse());
      const upTo = await store.scanRows('image', 1, { ...parts, upTo: half });
      expect(upTo.rows).toEqual(expected.slice(0, at + 1));
      const downTo = await store.scanRows('image', 1, { ...parts, upTo: half, reverse: true });
      expect(downTo.rows).toEqual(expected.slice(at).reverse());
    }
    const asked = ['a', 'b', 'ba', 'c', '\u{1f600}', '\uffee', 'é'];
    const byId = new Map(expected.map(({ id, value }) => [id, value]));
    expect(await store.getRows('image', 1, asked, layers)).toEqual(asked.map((id) => byId.get(id)));
    const range = { gte: new Uint8Array(0), lt: new Uint8Array([255, 255, 255, 255]) };
    const entries = await store.scanIndex(1, 7, range, { layers, limit: 500 });
    expect(entries).toEqual(model.visibleEntries(layers));
    const middle = entries[Math.floor(entries.length / 2)];
    if (middle === undefined) continue;
    const rest = await store.scanIndex(1, 7, range, { layers, limit: 500, after: middle });
    expect(rest).toEqual(entries.slice(Math.floor(entries.length / 2) + 1));
  }
};
