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
});
