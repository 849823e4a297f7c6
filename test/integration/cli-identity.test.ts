import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { CommandFolder, until, type Running } from '../processes/command-line.js';
import { natsIsDurable, natsProgram } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';
import { buildProgram } from '../processes/program.js';

const folders: CommandFolder[] = [];
const children: ChildProcess[] = [];
let entry = '';
beforeAll(async () => {
  entry = await buildProgram('tidemark');
});
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const begin = async (): Promise<CommandFolder> => {
  const folder = new CommandFolder(entry);
  folders.push(folder);
  await folder.json('init', '--tenant', 'acme');
  return folder;
};

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : 0),
      );
    });
  });

const serve = async (folder: CommandFolder, ...more: string[]): Promise<Running> => {
  const running = folder.start(['serve', '--json', ...more]);
  await until(() => running.out().includes('"ready"') || running.child.exitCode !== null);
  if (!running.out().includes('"ready"')) throw new Error((await running.ended).err);
  return running;
};

interface Listed {
  readonly required: boolean;
  readonly replicas: readonly { readonly device: string; readonly state: string }[];
}

describeOnNats('identities by the command', () => {
  test('[CLI-80, CLI-81, CLI-82] keys, a server that demands identities, a device enrolled and revoked', async () => {
    const folder = await begin();
    const port = await freePort();
    const url = `nats://127.0.0.1:${port}`;
    const made = await folder.json('identity', 'init', '--listen', `127.0.0.1:${port}`);
    const identity = folder.file('data/identity');
    expect(made).toMatchObject({ folder: identity });
    const again = await folder.run(['identity', 'init']);
    expect(again).toMatchObject({ code: 2 });
    if (process.platform !== 'win32') {
      expect(statSync(identity).mode & 0o777).toBe(0o700);
      for (const name of readdirSync(identity))
        expect([name, statSync(folder.file('data/identity', name)).mode & 0o777]).toEqual([
          name,
          0o600,
        ]);
    }
    const keys = JSON.parse(folder.read('data/identity/keys.json')) as Record<string, string>;
    const program = natsProgram ?? '';
    const conf = folder.file('data/identity/nats-server.conf');
    expect(folder.read('data/identity/nats-server.conf')).toContain('sync_interval: always');
    if (natsIsDurable) expect(spawnSync(program, ['-t', '-c', conf]).status).toBe(0);
    children.push(spawn(program, ['-c', conf], { stdio: 'ignore' }));

    const at = ['--nats', url, '--nats-credentials', folder.file('data/identity/server.creds')];
    const { ended } = folder.start(['serve', '--json', '--nats', url]);
    // Without a credential NATS lets nobody in, as soon as it is there.
    expect(['denied', 'unreachable']).toContain(
      (JSON.parse((await ended).err) as { error: { code: string } }).error.code,
    );
    await serve(folder, ...at);

    const enroll = ['enroll', '--for', 'ann', '--name', 'tablet-1', '--out', 'ann.json'];
    const enrolled = await folder.run([...enroll, '--json']);
    expect(enrolled).toMatchObject({ code: 0 });
    expect(JSON.parse(enrolled.out)).toMatchObject({ device: 'tablet-1', natsCredential: true });
    const file = JSON.parse(folder.read('ann.json')) as Record<string, string>;
    if (process.platform !== 'win32')
      expect(statSync(folder.file('ann.json')).mode & 0o777).toBe(0o600);
    expect(file).toMatchObject({ tenant: 'acme', user: 'ann', device: 'tablet-1', servers: [url] });
    const shown = await folder.run(['config', '--json', ...at]);
    const printed = [enrolled.out, enrolled.err, shown.out, again.err].join('\n');
    const seed = /SU[A-Z2-7]{56}/.exec(file['credentials'] ?? '')?.[0] ?? '';
    expect(seed).toHaveLength(58);
    const secrets = [file['token'], seed, keys['operator'], keys['account'], keys['system']];
    for (const secret of secrets) {
      expect(typeof secret).toBe('string');
      expect(printed).not.toContain(secret);
    }
    expect((await folder.run(enroll)).code).toBe(2);

    expect(await folder.json('identity', 'require')).toMatchObject({ before: false });
    const device = ['--device-file', 'ann.json'];
    await folder.json('device', 'create', 'visits', 'subject=A', '--id', 'a', ...device);
    expect(await folder.json('device', 'sync', ...device)).toMatchObject({ result: 'synced' });
    expect(await folder.json<Listed>('identity', 'list')).toMatchObject({
      required: true,
      replicas: [{ device: 'tablet-1', state: 'live' }],
    });
    // A second device with the same file is let in by NATS, and by nobody else.
    const thief = await folder.run(['device', 'sync', ...device, '--device', 'thief', '--json']);
    expect(thief).toMatchObject({ code: 3 });
    expect(thief.out + thief.err).toContain('unauthenticated');

    expect(await folder.json('revoke', '--name', 'tablet-1', ...at)).toMatchObject({
      nats: 'ended',
    });
    const late = await folder.run(['device', 'sync', ...device, '--json']);
    expect(late).toMatchObject({ code: 3 });
    expect(late.out + late.err).toContain('denied');
    expect(await folder.json<Listed>('identity', 'list')).toMatchObject({
      replicas: [{ device: 'tablet-1', state: 'revoked' }],
    });
    expect(
      (await folder.run(['enroll', '--for', 'ann', '--name', 'tablet-1', '--out', 'b.json'])).code,
    ).toBe(2);
  }, 120_000);
});

test('[CLI-81] enroll and revoke refuse what they cannot take, before anything is written', async () => {
  const folder = await begin();
  const base = ['--for', 'ann', '--name', 'd1', '--out', 'x.json'];
  for (const args of [
    ['enroll', '--for', 'ann', '--name', 'd1'],
    ['enroll', ...base, '--ttl', 'soon'],
    ['revoke'],
    ['revoke', '--name', 'a', '--replica', 'b'],
  ]) {
    const { code, err } = await folder.run(args);
    expect([args, code, err.length > 0]).toEqual([args, 2, true]);
  }
  expect(folder.has('x.json')).toBe(false);
});
