import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
// @ts-expect-error: a script without types
import * as script from '../run/sim-plants.mjs';

interface Plant {
  readonly name: string;
  readonly patches: readonly { readonly file: string; readonly find: string }[];
}

const { plants } = script as { readonly plants: readonly Plant[] };
const root = fileURLToPath(new URL('../../', import.meta.url));

test('each planted fault replaces a text that its file holds once', () => {
  const others = plants.filter(
    ({ patches }) =>
      patches.length === 0 ||
      patches.some(
        ({ file, find }) => readFileSync(`${root}${file}`, 'utf8').split(find).length !== 2,
      ),
  );
  expect(others.map(({ name }) => name)).toEqual([]);
  expect(plants.length).toBeGreaterThanOrEqual(20);
});
