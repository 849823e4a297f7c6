import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { tellBackupStory } from '../processes/backup-story.js';
import { CommandFolder } from '../processes/command-line.js';
import { NatsServer } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';
import { buildProgram } from '../processes/program.js';
import { startServing, stopServing } from '../processes/serving.js';

const folders: CommandFolder[] = [];
const servers: NatsServer[] = [];
let entry = '';
beforeAll(async () => {
  entry = await buildProgram('tidemark');
});
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
  for (const one of servers.splice(0)) await one.dispose();
});

interface Status {
  readonly incarnation: number;
  readonly n: number;
  readonly digest: string;
  readonly checkpoint: { readonly n: number } | null;
}

const inNats = async (): Promise<CommandFolder> => {
  const folder = new CommandFolder(entry);
  folders.push(folder);
  await folder.json('init', '--tenant', 'acme');
  const file = folder.file('tidemark.config.json');
  const values = JSON.parse(readFileSync(file, 'utf8')) as Readonly<Record<string, object>>;
  const checkpoints = { ...values['checkpoints'], in: 'nats', trimInput: true };
  writeFileSync(file, JSON.stringify({ ...values, checkpoints }));
  return folder;
};

describeOnNats('backups and checkpoints by the command line', () => {
  test('[CLI-44] with checkpoints in NATS a fresh server with an empty folder begins from the newest', async () => {
    const nats = await NatsServer.start();
    servers.push(nats);
    const [first, second] = [await inNats(), await inNats()];
    writeFileSync(first.file('v.ndjson'), '{"id":"a","subject":"A"}\n{"id":"b","subject":"B"}\n');
    const serving = await startServing(first, ['--nats', nats.url]);
    await first.json('import', 'visits', 'v.ndjson');
    // It writes the checkpoint into NATS, trims the input that it holds, and copies it from there.
    await first.json('backup', 'copies');
    expect(first.has('data/checkpoints')).toBe(false);
    const before = await first.json<Status>('status');
    expect(before.checkpoint).toMatchObject({ n: before.n });
    const { out: shown } = await first.call(['config', '--show', '--json']);
    expect(JSON.parse(shown)).toMatchObject({
      settings: expect.arrayContaining([
        expect.objectContaining({ name: 'checkpoints.in', value: 'nats', source: 'file' }),
      ]) as unknown,
    });
    const looked = await first.call(['doctor', '--json', '--nats', nats.url]);
    expect(looked.out).toContain('1 in NATS, the newest 0 versions behind');

    const fresh = await startServing(second, ['--nats', nats.url]);
    expect(fresh.lines()).toContainEqual(expect.objectContaining({ event: 'checkpoint-loaded' }));
    expect(await second.json<Status>('status')).toMatchObject({
      incarnation: before.incarnation,
      digest: before.digest,
    });
    expect([await stopServing(serving), await stopServing(fresh)]).toEqual([0, 0]);

    await second.json('restore', first.file('copies'), '--replace', '--nats', nats.url);
    const { out } = await second.call(['export', 'visits', '--format', 'csv', '--nats', nats.url]);
    expect(out).toContain('a,A');
    const removed = await second.json<{ readonly streams: readonly string[] }>(
      ...['tenant', 'remove', 'acme', '--yes', '--nats', nats.url],
    );
    expect(removed.streams).toEqual(['OPS-acme-1', 'OBJ_CHECKPOINTS-acme']);
  });

  test('[CLI-41] restored with the stream, then without: server and devices equal, nothing lost or doubled', async () => {
    const { problems, ...counts } = await tellBackupStory(entry, { records: 300, operations: 300 });
    expect(problems.join('\n')).toBe('');
    expect(counts.upsertsWith).toBe(0);
    expect(counts.upsertsWithout).toBeLessThan((3 * 300) / 2);
  });

  test('[CLI-5] checkpoints lie in a folder or in NATS, and nowhere else', async () => {
    const folder = await inNats();
    const { code, err } = await folder.call(['config'], { TIDEMARK_CHECKPOINTS_IN: 'moon' });
    expect(code).toBe(1);
    expect(err).toContain('checkpoints.in: expected folder or nats (from the variable)');
    // An input that lies in the folder has no NATS that could hold them.
    writeFileSync(folder.file('v.ndjson'), '{"id":"a","subject":"A"}\n');
    await folder.json('import', 'visits', 'v.ndjson');
    await folder.json('backup', 'copies');
    expect(folder.has('data/checkpoints')).toBe(true);
  });
});
