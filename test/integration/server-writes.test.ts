import { TidemarkError } from '@tidemark/server';
import { MemoryLevel } from 'memory-level';
import { describe, expect, test } from 'vitest';
import { openFixture } from './server-fixture.js';

const user = { user: 'root' };

describe('what a server write refuses', () => {
  test('[SRV-53] bad foreign rows are refused with a code, and no row beside them is lost', async () => {
    const f = await openFixture();
    const good = { table: 'places', id: 'good', fields: { name: 'g' }, modifiedOn: 1_000 };
    const bad = [
      [{ id: '' }, 'invalid-id'],
      [{ id: 'a\0b' }, 'invalid-id'],
      [{ id: '\ud800' }, 'invalid-id'],
      [{ id: 5 }, 'invalid-id'],
      [{ id: null }, 'invalid-id'],
      [{ modifiedOn: 1_000.5 }, 'invalid-value'],
      [{ modifiedOn: Number.NaN }, 'invalid-value'],
      [{ modifiedOn: -1 }, 'invalid-value'],
      [{ modifiedOn: undefined }, 'invalid-value'],
      [{ rowVersion: 1.5 }, 'invalid-value'],
      [{ rowVersion: '7' }, 'invalid-value'],
      [{ deleted: 'yes' }, 'invalid-value'],
    ] as const;
    for (const [member, code] of bad)
      await expect(
        f.server.foreign('erp', [good, { ...good, id: 'bad', ...member }] as never),
      ).rejects.toMatchObject({ code });
    for (const name of [5, null, 'a b', ''])
      await expect(f.server.foreign(name as never, [good as never])).rejects.toMatchObject({
        code: 'invalid-id',
      });
    expect(await f.server.query('places')).toEqual([]);
    await f.server.foreign('erp', [good as never]);
    expect(await f.server.get('places', 'good')).toMatchObject({ name: 'g' });
    expect(f.events.filter(({ type }) => type === 'quarantined')).toEqual([]);
    await f.server.close();
  });

  test('[SRV-53] a write of nobody, of no kind or of no id is refused before anything is stored', async () => {
    const f = await openFixture();
    const put = { kind: 'put', table: 'places', id: 'a', fields: { name: 'x' } };
    for (const name of [undefined, 5, '', 'u\ud800', 'u'.repeat(256)])
      await expect(f.server.write([put as never], { user: name } as never)).rejects.toMatchObject({
        code: 'invalid-option',
      });
    for (const [member, code] of [
      [{ kind: 'upsert' }, 'invalid-value'],
      [{ id: null }, 'invalid-id'],
      [{ id: ['a'] }, 'invalid-id'],
    ] as const)
      await expect(f.server.write([{ ...put, ...member } as never], user)).rejects.toMatchObject({
        code,
      });
    expect(await f.server.query('places')).toEqual([]);
    expect(f.events.filter(({ type }) => type === 'quarantined')).toEqual([]);
    await f.server.close();
  });

  test('[SRV-53] a write that fails on its way says how many operations are stored', async () => {
    const f = await openFixture();
    const ops = Array.from({ length: 1_500 }, (_, i) => ({
      kind: 'put' as const,
      table: 'places' as const,
      id: `p${i}`,
      fields: { name: i === 1_200 ? '\ud800' : 'x' },
    }));
    await expect(f.server.write(ops, user)).rejects.toMatchObject({
      code: 'invalid-value',
      details: { stored: 1_000 },
    });
    expect(await f.server.query('places')).toHaveLength(1_000);
    await f.server.close();
  });

  test('[SRV-53] when entries on their way fail, it says what is known to be stored', async () => {
    const memory = () =>
      new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });
    const databases = { store: memory(), input: memory() };
    const f = await openFixture({ databases });
    const ops = function* () {
      for (let i = 0; i < 6_000; i += 1) {
        // Several entries are on their way: some fail, and none is awaited before the last was given.
        if (i === 4_000) void f.server.close();
        yield {
          kind: 'put' as const,
          table: 'places' as const,
          id: `p${i}`,
          fields: { name: 'x' },
        };
      }
    };
    const failed: unknown = await f.server.write(ops(), user).catch((cause: unknown) => cause);
    expect(failed).toBeInstanceOf(TidemarkError);
    const { stored, storedBehind } = (failed as TidemarkError).details as Record<string, number>;
    await f.server.close();
    await databases.store.open();
    await databases.input.open();
    const again = await openFixture({ databases });
    // An entry whose answer was lost by the closing may be there, too: what is told is what is known.
    const found = new Set((await again.server.query('places')).map(({ id }) => id));
    expect(found.size).toBeGreaterThanOrEqual(Number(stored) + Number(storedBehind));
    for (let i = 0; i < Number(stored); i += 1) expect(found.has(`p${i}`)).toBe(true);
    await again.server.close();
  });
});
