import { statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { CommandFolder, until } from '../processes/command-line.js';
import { NatsServer } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';
import { buildProgram } from '../processes/program.js';
import { freePort, linesOf, startServing, stopServing } from '../processes/serving.js';

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

const begin = async (): Promise<CommandFolder> => {
  const folder = new CommandFolder(entry);
  folders.push(folder);
  await folder.json('init', '--tenant', 'acme');
  writeFileSync(folder.file('v.ndjson'), '{"id":"a","subject":"A"}\n{"id":"b","subject":"B"}\n');
  return folder;
};

interface Status {
  readonly tenant: string;
  readonly incarnation: number;
  readonly n: number;
  readonly checkpoint: { readonly n: number } | null;
}

const subjects = async (folder: CommandFolder, ...more: string[]): Promise<readonly string[]> => {
  const { out } = await folder.call(['export', 'visits', '--format', 'json', ...more]);
  return (JSON.parse(out) as { readonly subject: string }[]).map(({ subject }) => subject);
};

describeOnNats('operating', () => {
  test('[CLI-54] serve takes up tenants that are added while it runs', async () => {
    const nats = await NatsServer.start();
    servers.push(nats);
    const folder = await begin();
    const file = folder.file('tidemark.config.json');
    const env = { TIDEMARK_NATS: nats.url };
    const serving = await startServing(folder, [], env);
    const told = (event: string, tenant?: string): Promise<void> =>
      until(() =>
        serving.lines().some((one) => one['event'] === event && one['tenant'] === tenant),
      );
    await folder.json('tenant', 'add', 'beta');
    // Also while the server is taking it up.
    const imported = await folder.call(
      ['import', 'visits', 'v.ndjson', '--tenant', 'beta', '--json'],
      env,
    );
    expect([imported.code, imported.err]).toEqual([0, '']);
    await told('ready', 'beta');
    expect(await folder.json('status', '--tenant', 'beta')).toMatchObject({ running: true });
    const synced = await folder.call(['device', 'sync', '--tenant', 'beta', '--json'], env);
    expect(JSON.parse(synced.out)).toMatchObject({ result: 'synced' });
    const ready = (await (await fetch(`${serving.http}/readyz`)).json()) as {
      readonly tenants: readonly { readonly tenant: string }[];
    };
    expect(ready.tenants.map(({ tenant }) => tenant)).toEqual(['acme', 'beta']);
    const metrics = await (await fetch(`${serving.http}/metrics`)).text();
    expect(metrics).toContain('tidemark_ready{tenant="beta"} 1');
    // A configuration that cannot be used changes nothing, and the next one that can does.
    const good = JSON.parse(folder.read('tidemark.config.json')) as { tenants: object[] };
    writeFileSync(file, '{"tenants":');
    await told('configuration-refused');
    writeFileSync(file, JSON.stringify({ ...good, tenants: [...good.tenants.slice(1), 'delta'] }));
    await told('ready', 'delta');
    await told('tenant-left', 'acme');
    expect(serving.lines().filter(({ event }) => event === 'tenant-left')).toHaveLength(1);
    writeFileSync(file, JSON.stringify(good));
    expect(await folder.json('status', '--tenant', 'acme')).toMatchObject({ running: true });
    expect(await stopServing(serving)).toBe(0);
  });

  test('[NAT-55] serve ends with 4 when its NATS is gone for good', async () => {
    const folder = await begin();
    const serving = await startServing(folder, ['--port', String(await freePort())]);
    const [, pid] = folder.read('data/server.nats/nats.pid').trim().split(' ').map(Number);
    process.kill(pid as number, 'SIGKILL');
    const { code, err } = await serving.ended;
    expect(code).toBe(4);
    expect(JSON.parse(err.trim().split('\n').at(-1) ?? '')).toMatchObject({
      error: { code: 'unreachable', action: expect.stringContaining('again') as unknown },
    });
    // Started again it goes on.
    const again = await startServing(folder, ['--port', String(await freePort())]);
    expect(await stopServing(again)).toBe(0);
  });

  test('[CLI-63, CLI-69] tenants are added, listed, exported, removed and restored', async () => {
    const folder = await begin();
    await folder.json('import', 'visits', 'v.ndjson');
    await folder.json('tenant', 'add', 'beta');
    expect((await folder.call(['tenant', 'add', 'beta'])).err).toContain('there already');
    expect((await folder.call(['tenant', 'add', '../up'])).code).toBe(1);
    const serving = await startServing(folder, ['--port', String(await freePort())]);
    // No device has seen the input in the folder of acme: it moved by itself.
    expect(serving.lines().map(({ event }) => event)).toContain('input-moved');
    await folder.json('import', 'visits', 'v.ndjson', '--tenant', 'beta');
    // The NATS of the tenants runs in that process: a new tenant is filled through it.
    await folder.json('tenant', 'add', 'gamma');
    writeFileSync(folder.file('g.ndjson'), '{"id":"a","subject":"G"}\n');
    await folder.json('import', 'visits', 'g.ndjson', '--tenant', 'gamma');
    await until(() =>
      serving.lines().some(({ event, tenant }) => event === 'ready' && tenant === 'gamma'),
    );
    const refused = await folder.call(['tenant', 'remove', 'beta', '--yes']);
    expect(refused.err).toContain('folder-in-use');
    const states = await folder.json<{ tenant: string; state: string }[]>('tenant', 'list');
    expect(states.map(({ tenant, state }) => [tenant, state])).toEqual([
      ['acme', 'running'],
      ['beta', 'running'],
      ['gamma', 'running'],
    ]);
    const taken = await folder.json<{ exported: string }>('tenant', 'export', 'beta', 'copies');
    await folder.json('device', 'sync', '--tenant', 'beta');
    expect(await stopServing(serving)).toBe(0);

    const unasked = await folder.call(['tenant', 'remove', 'beta']);
    expect(unasked.code).toBe(2);
    expect(unasked.err).toContain('--yes');
    const asked: string[] = [];
    const wrong = await folder.call(['tenant', 'remove', 'beta'], {}, (question) => {
      asked.push(question);
      return Promise.resolve('acme');
    });
    expect([wrong.code, asked.length]).toEqual([1, 1]);
    expect(wrong.err).toContain('nothing was removed');
    const stream = 'data/server.nats/store/jetstream/$G/streams';
    expect(folder.has(stream, 'OPS-beta-1')).toBe(true);
    expect(await folder.json('tenant', 'remove', 'beta', '--yes')).toMatchObject({
      removed: 'beta',
      streams: ['OPS-beta-1'],
      unlisted: true,
    });
    expect(folder.has(stream, 'OPS-beta-1')).toBe(false);
    expect(folder.has('data/tenants/beta/server')).toBe(false);
    expect(folder.has('data/tenants/beta/device')).toBe(true);
    expect((await folder.call(['status', '--tenant', 'beta'])).code).toBe(1);
    expect(await subjects(folder, '--tenant', 'gamma')).toEqual(['G']);
    expect(await subjects(folder)).toEqual(['A', 'B']);

    await folder.json('tenant', 'add', 'beta');
    await folder.json('restore', taken.exported, '--tenant', 'beta');
    expect(await subjects(folder, '--tenant', 'beta')).toEqual(['A', 'B']);
  });

  test('[CLI-67, CLI-68] a stop drains and writes a checkpoint; servers share a key of cursors', async () => {
    const nats = await NatsServer.start();
    servers.push(nats);
    const folder = await begin();
    await folder.json('key', 'cursor.key');
    expect(statSync(folder.file('cursor.key')).mode & 0o077).toBe(0);
    expect((await folder.call(['key', 'cursor.key'])).err).toContain('exists');
    const env = { TIDEMARK_NATS: nats.url, TIDEMARK_CURSOR_KEY: 'cursor.key' };
    const one = await startServing(folder, [], { ...env, TIDEMARK_CHECKPOINTS_ON_STOP: 'true' });
    await folder.json('import', 'visits', 'v.ndjson');
    expect(await folder.json('device', 'sync')).toMatchObject({ pages: 1 });
    // Commands at the server's socket when it is told to stop are answered or refused, never cut.
    const writing = folder.run(['import', 'visits', 'v.ndjson', '--restart', '--json']);
    expect(await stopServing(one)).toBe(0);
    expect([0, 1]).toContain((await writing).code);
    expect(one.lines().map(({ event }) => event)).toEqual(
      expect.arrayContaining(['stopping', 'checkpoint-written', 'stopped']),
    );
    const { out } = await folder.call(['status', '--json'], env);
    const status = JSON.parse(out) as Status;
    expect(status.checkpoint?.n).toBe(status.n);
    expect(folder.has('data/server/cursor.key')).toBe(false);

    // Another server from nothing but the stream: the device goes on with the cursor that it has.
    const two = await startServing(
      folder,
      ['--folder', 'data/two', '--checkpoints', 'data/cp2'],
      env,
    );
    writeFileSync(folder.file('w.ndjson'), '{"id":"c","subject":"C"}\n');
    await folder.json('import', 'visits', 'w.ndjson', '--folder', 'data/two');
    const synced = await folder.call(['device', 'sync', '--json'], env);
    // A cursor that was made with another key would be repaired by difference.
    expect(JSON.parse(synced.out)).toMatchObject({
      result: 'synced',
      tables: [{ table: 'visits', mode: 'incremental' }],
    });
    // While NATS does not answer a stop waits, bounded; a second signal does not.
    nats.signal('SIGSTOP');
    two.child.kill('SIGTERM');
    await until(() => two.out().includes('"stopping"'));
    expect(two.child.exitCode).toBeNull();
    two.child.kill('SIGTERM');
    await two.ended;
    expect(two.child.signalCode).toBe('SIGTERM');
    nats.signal('SIGCONT');
  });

  test('[CLI-70] dev publishes what devices can take up and shows changes as they come', async () => {
    const folder = await begin();
    const running = folder.start(['dev', '--json', '--port', String(await freePort())]);
    const wait = (text: string): Promise<void> =>
      until(() => running.out().includes(text) || running.child.exitCode !== null);
    await wait('"watching"');
    await folder.json('device', 'create', 'visits', 'subject=Pump', '--id', 'v1');
    await folder.json('device', 'sync');
    await wait('"created"');
    const schema = folder.read('tidemark.schema.json');
    const change = async (text: string, result: string): Promise<void> => {
      writeFileSync(folder.file('tidemark.schema.json'), text);
      await wait(`"result":"${result}"`);
    };
    await change(schema.replace('200', '300'), 'needs-version');
    await change(schema.replace('200', '100'), 'destructive');
    await change(schema.replace('"type": "counter"', '"type": "odd"'), 'invalid');
    await change(schema.replace('200', '300').replace('"version": 1', '"version": 2'), 'published');
    running.child.kill('SIGINT');
    const { code } = await running.ended;
    expect(code).toBe(0);
    const lines = linesOf(running.out());
    expect(lines.filter(({ event }) => event === 'change')).toEqual([
      {
        event: 'change',
        table: 'visits',
        record: 'v1',
        kind: 'created',
        fields: { subject: [null, 'Pump'] },
      },
    ]);
    expect(lines.filter(({ event }) => event === 'schema')).toMatchObject([
      { result: 'needs-version', version: 1, next: 2 },
      { result: 'destructive', problems: [{ path: 'tables.visits.subject' }] },
      { result: 'invalid', problems: [{ path: 'tables[0].fields[2].type' }] },
      { result: 'published', version: 2 },
    ]);
  });
});

test('[CLI-6] a command whose reader goes away ends without a word', async () => {
  const folder = await begin();
  const running = folder.start(['--help']);
  running.child.stdout?.destroy();
  const { code, err } = await running.ended;
  expect(err).toBe('');
  // What was written last may find out after the command has ended well.
  expect([0, 130]).toContain(code);
});
