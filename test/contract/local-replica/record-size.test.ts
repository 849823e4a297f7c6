import { describe, expect, test } from 'vitest';
import { defineSchema, field, utf8Encode } from '@tidemark/model';
import { download, newDisk, openOn, pageOf, rowOf, sha256, upsert } from './harness.js';

/** Text of 6,000 characters that hardly shrinks. */
const dense = (seed: number): string => {
  let text = '';
  for (let i = 0; text.length < 6_000; i += 1)
    text += Buffer.from(sha256(utf8Encode(`${seed}/${i}`))).toString('base64');
  return text.slice(0, 6_000);
};

const textCount = 6;
const filling = 'p'.repeat(300_000);
const names = Array.from({ length: textCount }, (_, i) => `t${i + 1}`);
const forms = defineSchema({
  version: 1,
  tables: {
    forms: {
      id: 1,
      fields: Object.fromEntries([
        ['filling', field.string(98)] as const,
        ['title', field.string(99)] as const,
        ...names.map((name, i) => [name, field.text(i + 1)] as const),
      ]),
    },
  },
});

describe('size of a record', () => {
  test('[REP-5] [CRD-16] texts that gathered changes are made compact before an edit is refused', async () => {
    const { replica, close } = await openOn(newDisk(), { customization: forms.customization });
    const start = Object.fromEntries(names.map((_, i) => [i + 1, dense(i)]));
    start[98] = filling;
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, start))])], 1, 0);
    // Each document gathers 15 KB behind its saved part, which a saving makes a few bytes of.
    for (const [i, name] of names.entries())
      await replica.update('forms', 'a', { [name]: dense(i) + 'x'.repeat(15_000) });
    await replica.update('forms', 'a', { title: 'new' });
    const record = await replica.get('forms', 'a');
    names.forEach((name, i) => expect(record?.[name]).toBe(dense(i) + 'x'.repeat(15_000)));

    const refused = replica.update('forms', 'a', { t2: dense(1) + 'x'.repeat(100_000) });
    await expect(refused).rejects.toMatchObject({ code: 'record-too-large' });
    await replica.update('forms', 'a', { t1: 'short' });
    expect(await replica.get('forms', 'a')).toMatchObject({ t1: 'short', title: 'new' });
    await close();
  });

  test('[REP-5] a record that the server deleted counts once while edits on it are pending', async () => {
    const { replica, close } = await openOn(newDisk());
    await replica.rewrap({ epoch: 1, provisional: 'aa', granted: true, above: 0 });
    const note = 'n'.repeat(240_000);
    await download(replica, [pageOf(1, [upsert('a', rowOf(1, { 1: 't', 2: 1, 5: note }))])], 1, 0);
    await replica.update('tasks', 'a', { rank: 2 });
    await download(replica, [pageOf(1, [{ kind: 'evict', id: 'a' }])], 2, 0);
    await replica.update('tasks', 'a', { rank: 3 });
    expect(await replica.get('tasks', 'a')).toMatchObject({ rank: 3, note });
    await close();
  });
});
