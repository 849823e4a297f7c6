import { statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { checkExposure } from '@tidemark/cli';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { CommandFolder, until, type Running } from '../processes/command-line.js';
import { NatsServer } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';
import { buildProgram } from '../processes/program.js';
import { freePort } from '../processes/serving.js';

const folders: CommandFolder[] = [];
const nats: NatsServer[] = [];
let entry = '';
beforeAll(async () => {
  entry = await buildProgram('tidemark');
});
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
  for (const one of nats.splice(0)) await one.dispose();
});

const begin = async (): Promise<CommandFolder> => {
  const folder = new CommandFolder(entry);
  folders.push(folder);
  await folder.json('init', '--tenant', 'acme');
  writeFileSync(folder.file('v.ndjson'), '{"id":"a","subject":"A"}\n{"id":"b","subject":"B"}\n');
  return folder;
};

const serve = async (folder: CommandFolder, ...more: string[]): Promise<Running> => {
  const running = folder.start(['serve', '--json', ...more]);
  await until(() => running.out().includes('"ready"') || running.child.exitCode !== null);
  if (!running.out().includes('"ready"')) throw new Error((await running.ended).err);
  return running;
};

const natsPortOf = (folder: CommandFolder): number =>
  Number(folder.read('data/server.nats/nats.pid').trim().split(' ')[2]);
const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });

interface Status {
  readonly running: boolean;
  readonly incarnation: number;
  readonly n: number;
}
const subjects = async (folder: CommandFolder): Promise<readonly string[]> => {
  const { out } = await folder.call(['export', 'visits', '--format', 'json']);
  return (JSON.parse(out) as { readonly subject: string }[]).map(({ subject }) => subject);
};

describeOnNats('serve', () => {
  test('[CLI-20, CLI-23, CLI-40] a running server answers commands and ends with its NATS', async () => {
    const folder = await begin();
    const port = await freePort();
    const running = await serve(folder, '--port', String(port));
    expect(running.out()).toContain(`nats://127.0.0.1:${port}`);
    expect(statSync(folder.file('data/server/control.sock')).mode & 0o077).toBe(0);
    expect(await folder.json('import', 'visits', 'v.ndjson')).toMatchObject({ imported: 2 });
    expect(await folder.json('status')).toMatchObject({ running: true });
    expect(await folder.json('device', 'sync')).toMatchObject({ result: 'synced' });
    await folder.json('device', 'create', 'visits', 'subject=C', '--id', 'c');
    await folder.json('device', 'sync');
    expect(await subjects(folder)).toEqual(['A', 'B', 'C']);
    expect(await folder.json<unknown[]>('logs')).toHaveLength(2);
    expect(await folder.json<unknown[]>('explain', 'visits', 'c')).not.toEqual([]);

    const second = await folder.call(['serve', '--port', String(await freePort())]);
    expect(second.code).toBe(1);
    expect(second.err).toContain('folder-in-use');
    const wrong = await folder.call(['import', 'places', 'v.ndjson', '--json']);
    expect(JSON.parse(wrong.err)).toMatchObject({ error: { code: 'unknown-table' } });
    const taken = await folder.json<{ readonly n: number }>('backup', 'copies');
    expect(taken.n).toBe((await folder.json<Status>('status')).n);
    expect((await folder.call(['restore', 'copies', '--replace'])).err).toContain('folder-in-use');

    const natsPort = natsPortOf(folder);
    expect(await listens(natsPort)).toBe(true);
    running.child.kill('SIGINT');
    expect((await running.ended).code).toBe(0);
    expect(await listens(natsPort)).toBe(false);
    expect(await folder.json('status')).toMatchObject({ running: false, incarnation: 1 });
    expect(await subjects(folder)).toEqual(['A', 'B', 'C']);
  });

  test('[CLI-23, CLI-41] after a kill the input goes on; a restore folds it on top of an older copy', async () => {
    const folder = await begin();
    const running = await serve(folder, '--port', String(await freePort()));
    await folder.json('import', 'visits', 'v.ndjson');
    await folder.json('backup', 'copies');
    await folder.json('device', 'create', 'visits', 'subject=C', '--id', 'c');
    await folder.json('device', 'sync');
    const before = await folder.json<Status>('status');
    const natsPort = natsPortOf(folder);
    running.child.kill('SIGKILL');
    await running.ended;
    expect(await listens(natsPort)).toBe(true);
    expect(await folder.json('status')).toMatchObject({ incarnation: 1, n: before.n });
    expect(await listens(natsPort)).toBe(false);
    expect(await folder.json('restore', 'copies', '--replace')).toMatchObject({
      newIncarnation: false,
      n: before.n,
    });
    expect(await subjects(folder)).toEqual(['A', 'B', 'C']);
    expect(await folder.json('device', 'sync')).toMatchObject({ result: 'synced' });
  });

  test('[CLI-21] a folder is opened with its own input only, or leaves it on purpose', async () => {
    const folder = await begin();
    await folder.json('import', 'visits', 'v.ndjson');
    await folder.json('device', 'sync');
    const other = await NatsServer.start();
    nats.push(other);
    for (const args of [['status'], ['serve'], ['export', 'visits']]) {
      const { code, err } = await folder.call([...args, '--nats', other.url]);
      expect(code).toBe(1);
      expect(err).toContain('--move-input');
    }
    expect(await folder.json('status')).toMatchObject({ incarnation: 1 });
    const running = await serve(folder, '--move-input', '--nats', other.url);
    expect(await folder.json('status')).toMatchObject({ running: true, incarnation: 2 });
    await folder.json('device', 'create', 'visits', 'subject=C', '--id', 'c');
    expect(await folder.json('device', 'sync')).toMatchObject({ result: 'synced' });
    running.child.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);
    expect(folder.has('data/server/input.moved')).toBe(true);
    const without = await folder.call(['status']);
    expect(without.code).toBe(1);
    expect(without.err).toContain('nats.servers');
    const { out } = await folder.call(['status', '--json', '--nats', other.url]);
    expect(JSON.parse(out)).toMatchObject({ running: false, incarnation: 2 });
  });
});

test('[CLI-22] NATS beyond this machine needs TLS and credentials', () => {
  const refused = (servers: readonly string[], more = {}, isInsecure = false): boolean => {
    try {
      checkExposure({ servers, ...more }, isInsecure);
      return false;
    } catch {
      return true;
    }
  };
  expect(refused(['nats://127.0.0.1:4222', 'localhost:4222', 'nats://[::1]:4222'])).toBe(false);
  expect(refused(['nats://127.0.0.1.example:4222'])).toBe(true);
  expect(refused(['nats://nats.example:4222'])).toBe(true);
  expect(refused(['nats://nats.example:4222'], { token: 'x' })).toBe(true);
  expect(refused(['tls://nats.example:4222'])).toBe(true);
  expect(refused(['tls://nats.example:4222', 'nats://10.0.0.1'], { token: 'x' })).toBe(true);
  expect(refused(['tls://nats.example:4222'], { token: 'x' })).toBe(false);
  expect(refused(['nats://nats.example:4222'], { token: 'x', tls: { ca: 'x' } })).toBe(false);
  expect(refused(['nats://nats.example:4222'], { tls: { ca: 'x' } })).toBe(true);
  expect(refused(['nats://nats.example:4222'], {}, true)).toBe(false);
});
