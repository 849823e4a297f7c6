import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openReplica } from '@tidemark/node';
import { openServer } from '@tidemark/server';
import { expect, test } from 'vitest';
import { schema, tenant } from '../processes/kill-schema.js';

const editsEach = 1_000;

test('[CRD-40] 1,000 offline edits of two devices in one new note all survive', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-texts-'));
  const server = await openServer({ tenant, schema, folder: path.join(folder, 'server') });
  const open = (user: string) =>
    openReplica({
      folder: path.join(folder, user),
      tenant,
      user,
      schema,
      transport: server.transport,
    });
  const a = await open('ana');
  const b = await open('ben');
  try {
    await server.write((writer) => writer.put('visits', 'v', { subject: 'note' }), {
      user: 'office',
    });
    await a.sync();
    await b.sync();
    const started = performance.now();
    const words = new Map<typeof a, readonly string[]>();
    for (const [replica, letter] of [
      [a, 'a'],
      [b, 'b'],
    ] as const) {
      const mine = Array.from({ length: editsEach }, (_, i) => `${letter}${i} `);
      words.set(replica, mine);
      let at = 0;
      for (const insert of mine) {
        await replica.editText('visits', 'v', 'note', { at, remove: 0, insert });
        at += insert.length;
      }
    }
    const typed = performance.now();
    for (let round = 0; round < 10 && !(a.status.synced && b.status.synced); round += 1)
      for (const replica of [a, b]) await replica.sync();
    await a.sync();
    const ended = performance.now();
    console.log(
      `two devices, ${editsEach} edits each: typed in ${(typed - started).toFixed(0)} ms, agreed after ${(ended - typed).toFixed(0)} ms`,
    );
    expect([a.status.synced, b.status.synced]).toEqual([true, true]);
    const note = (await server.get('visits', 'v'))?.note ?? '';
    const both = [...words.values()].map((mine) => mine.join(''));
    // Each one's text is whole; whose comes first is the CRDT's affair.
    expect([both.join(''), [...both].reverse().join('')]).toContain(note);
    expect(await a.get('visits', 'v')).toMatchObject({ note });
    expect(await b.get('visits', 'v')).toMatchObject({ note });
    expect(await server.errors.list()).toEqual([]);
  } finally {
    await a.close();
    await b.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}, 300_000);
