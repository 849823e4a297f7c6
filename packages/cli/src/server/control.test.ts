import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { TidemarkError } from '@tidemark/model';
import { openServer, defineSchema, field } from '@tidemark/server';
import { connectDesk } from './control-client.js';
import { serveControl } from './control-server.js';
import { localDesk } from './local-desk.js';
import type { LooseTables } from './open-folder.js';

const folder = mkdtempSync(path.join(tmpdir(), 'tm-control-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const schema = defineSchema({
  version: 1,
  tables: { things: { id: 1, fields: { name: field.string(1, { required: true }) } } },
});

describe('the socket of a running server', () => {
  test('[CLI-20] it answers like the folder itself, with its errors', async () => {
    expect(await connectDesk(folder)).toBeUndefined();
    const server = await openServer<LooseTables>({ folder, tenant: 'acme', schema });
    const local = localDesk(server, { checkpoints: folder, nats: ['nats://here'] });
    const end = await serveControl(folder, local);
    try {
      if (process.platform !== 'win32')
        expect(statSync(path.join(folder, 'control.sock')).mode & 0o777).toBe(0o600);
      const desk = await connectDesk(folder);
      if (desk === undefined) throw new Error('it does not answer');
      expect(await desk.customization()).toEqual(schema.customization);
      await desk.write(
        [{ kind: 'put', table: 'things', id: 'ü', fields: { name: 'Ü' } }],
        'operator',
      );
      for (const wanted of [
        { limit: 1 },
        { limit: 5, after: 'z' },
        { limit: 5, filter: 'name = "Ü"' },
      ])
        expect(await desk.records('things', wanted)).toEqual(await local.records('things', wanted));
      expect(await desk.status()).toEqual(await local.status());
      expect(await desk.status()).toMatchObject({ running: true, nats: ['nats://here'] });
      expect(await desk.explain('things', 'ü', undefined, undefined)).toEqual(
        await local.explain('things', 'ü', undefined, undefined),
      );
      expect(await desk.error('none')).toBeNull();
      expect(await desk.errors({ state: 'open', limit: 3 })).toEqual([]);
      const unknown = await desk.records('places', { limit: 1 }).catch((cause: unknown) => cause);
      expect(unknown).toBeInstanceOf(TidemarkError);
      expect(unknown).toMatchObject({ code: 'unknown-table' });
      const malformed = desk.write([{ kind: 'patch' } as never], 'operator');
      await expect(malformed).rejects.toMatchObject({ code: 'malformed-message' });
    } finally {
      await end();
      await server.close();
    }
    expect(await connectDesk(folder)).toBeUndefined();
  });
});
