/** Folders, backups and inputs that commands must leave as they are. */
import { cpSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { systemEntropy } from '@tidemark/node';
import {
  connectServer,
  openServer,
  readInputName,
  schemaFromCustomization,
} from '@tidemark/server';
import { afterEach, describe, expect, test } from 'vitest';
import { CommandRoom } from '../processes/command-room.js';
import { NatsServer } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';

const rooms: CommandRoom[] = [];
const nats: NatsServer[] = [];
afterEach(async () => {
  for (const room of rooms.splice(0)) room.dispose();
  for (const one of nats.splice(0)) await one.dispose();
});
const begin = async (): Promise<CommandRoom> => {
  const room = new CommandRoom();
  rooms.push(room);
  await room.json('init', '--tenant', 'acme');
  room.write('v.ndjson', '{"id":"a","subject":"A"}\n{"id":"b","subject":"B"}\n');
  room.write('w.ndjson', '{"id":"c","subject":"C"}\n{"id":"d","subject":"D"}\n');
  return room;
};
const startNats = async (): Promise<NatsServer> => {
  const one = await NatsServer.start();
  nats.push(one);
  return one;
};

interface Note {
  readonly backup: string;
  readonly digest: string;
  readonly n: number;
}

describe('backups', () => {
  test('[CLI-43, CLI-50] a restore leaves the backup as it was taken', async () => {
    const room = await begin();
    await room.json('import', 'visits', 'v.ndjson');
    const { backup } = await room.json<Note>('backup', 'copies');
    await room.json('import', 'visits', 'w.ndjson');
    const config = JSON.parse(room.read('tidemark.config.json')) as object;
    const checkpoints = { keep: 1, everyOps: 1, trimInput: true };
    room.write('tidemark.config.json', JSON.stringify({ ...config, checkpoints }));
    const before = room.hashes('copies');
    for (const times of [1, 2]) {
      const restored = await room.json('restore', 'copies', '--replace');
      expect(restored).toMatchObject({ backup, newIncarnation: true });
      expect(room.has(`data/server.replaced-${times}`)).toBe(true);
      expect(room.hashes('copies')).toEqual(before);
    }
    // The newest checkpoint is of the incarnation before: there is no distance between the two.
    const { out } = await room.run(['status']);
    expect(out).toContain('newest checkpoint 1:');
    expect(out).toContain('of another incarnation than 2');
    const { findings } = await room
      .run(['doctor', '--json'])
      .then(
        ({ out: text }) => JSON.parse(text) as { findings: { check: string; found: string }[] },
      );
    const found = findings.find(({ check }) => check === 'checkpoints');
    expect(found).toMatchObject({ state: 'warning' });
    expect(found?.found).toContain('another incarnation');
  });

  test('[CLI-42] a backup that holds another checkpoint than it notes changes nothing', async () => {
    const room = await begin();
    await room.json('import', 'visits', 'v.ndjson');
    const { backup } = await room.json<Note>('backup', 'copies');
    const file = path.join(backup, 'backup.json');
    const note = room.read(path.relative(room.path, file));
    const before = room.hashes('data', 'server');
    for (const other of [
      { digest: '00' },
      { n: 1_000 },
      { checkpoint: '000001-000000000000001' },
    ]) {
      writeFileSync(file, JSON.stringify({ ...(JSON.parse(note) as object), ...other }));
      const { code, err } = await room.run(['restore', 'copies', '--replace']);
      expect(code).toBe(1);
      expect(err).toContain('checkpoint-invalid');
    }
    expect(room.hashes('data', 'server')).toEqual(before);
    expect(room.has('data/server.replaced-1')).toBe(false);
    expect(room.has('data/server.restoring')).toBe(false);
    writeFileSync(file, note);
    expect((await room.run(['restore', 'copies', '--replace'])).code).toBe(0);
  });

  test('[CLI-42] a backup of the checkpoint of another tenant is not taken', async () => {
    const [room, other] = [await begin(), await begin()];
    await room.json('import', 'visits', 'v.ndjson', '--tenant', 'other');
    await room.json('backup', 'copies', '--tenant', 'other');
    await other.json('import', 'visits', 'v.ndjson');
    await other.json('backup', 'copies');
    const taken = readdirSync(other.file('copies')).length;
    const [mine] = readdirSync(room.file('data', 'checkpoints'));
    // A higher name than its own: as where tenants share a folder of checkpoints.
    const later = '000009-000000000000009';
    cpSync(room.file('data', 'checkpoints', mine ?? ''), other.file('data', 'checkpoints', later), {
      recursive: true,
    });
    const { code, err } = await other.run(['backup', 'copies']);
    expect(code).toBe(1);
    expect(err).toContain('wrong-tenant');
    expect(readdirSync(other.file('copies'))).toHaveLength(taken);
  });
});

describe('a folder that a command holds', () => {
  test('[CLI-20, CLI-42] nothing is started on it, moved or renamed', async () => {
    const room = await begin();
    await room.json('import', 'visits', 'v.ndjson');
    await room.json('backup', 'copies');
    const folder = room.file('data', 'server');
    const schema = schemaFromCustomization(JSON.parse(room.read('tidemark.schema.json')) as never);
    const held = await openServer({ folder, tenant: 'acme', schema });
    try {
      for (const args of [
        ['restore', 'copies', '--replace'],
        ['serve', '--nats', 'nats://127.0.0.1:1'],
        ['serve', '--move-input', '--nats', 'nats://127.0.0.1:1'],
        ['serve', '--port', '1'],
      ]) {
        const { code, err } = await room.run(args);
        expect([args[0], code]).toEqual([args[0], 1]);
        expect(err).toContain('folder-in-use');
      }
      expect(room.has('data/server/input/CURRENT')).toBe(true);
      expect(room.has('data/server.replaced-1')).toBe(false);
      expect(room.has('data/server.nats')).toBe(false);
    } finally {
      await held.close();
    }
    expect((await room.run(['restore', 'copies', '--replace'])).code).toBe(0);
  });

  test('[CLI-21, CLI-22] the input stays where it is when the NATS cannot be used', async () => {
    const room = await begin();
    await room.json('import', 'visits', 'v.ndjson');
    const before = room.hashes('data');
    for (const [address, code] of [
      ['nats://nats.example:4222', 2],
      ['nats://127.0.0.1:1', 1],
    ] as const) {
      expect((await room.run(['serve', '--move-input', '--nats', address])).code).toBe(code);
      expect(room.has('data/server/input/CURRENT')).toBe(true);
      expect(room.has('data/server/input.moved')).toBe(false);
    }
    expect([...room.hashes('data').keys()]).toEqual(
      expect.arrayContaining(['server/input.marker']),
    );
    expect(before.size).toBeGreaterThan(0);
    expect(await room.json('status')).toMatchObject({ incarnation: 1 });
  });
});

const nameAt = async (server: NatsServer) => {
  const connection = await connectServer({ servers: [server.url] }, systemEntropy);
  try {
    return await readInputName(connection, 'acme');
  } finally {
    await connection.close();
  }
};

describeOnNats('the input in NATS', () => {
  const looks = [
    ['status'],
    ['export', 'visits'],
    ['explain', 'visits', 'a'],
    ['logs'],
    ['errors', 'list'],
  ];

  test('[CLI-25, CLI-24] another NATS is refused, and looking begins nothing there', async () => {
    const [own, empty, foreign] = [await startNats(), await startNats(), await startNats()];
    const [room, other] = [await begin(), await begin()];
    const at = (server: NatsServer) => ['--nats', server.url];
    // A folder without a server's input in NATS: looking does not begin one.
    await room.json('import', 'visits', 'v.ndjson', ...at(own));
    await other.json('import', 'visits', 'w.ndjson', ...at(foreign));
    const name = (await nameAt(own))?.name;
    expect(name).toMatch(/^[0-9a-f]{24}$/);
    expect((await nameAt(foreign))?.name).not.toBe(name);

    for (const server of [empty, foreign])
      for (const args of [...looks, ['import', 'visits', 'w.ndjson'], ['serve']]) {
        const { code, err } = await room.run([...args, ...at(server)]);
        expect([args[0], code]).toEqual([args[0], 1]);
        expect(err).toContain('nats.servers');
      }
    const doctor = await room.run(['doctor', '--json', ...at(empty)]);
    expect(doctor.code).toBe(1);
    expect(await nameAt(empty)).toBeUndefined();

    // A folder that has not noted any name: looking makes no stream.
    rmSync(room.file('data', 'server', 'input-place.json'));
    expect((await room.run(['status', ...at(empty)])).code).toBe(1);
    expect(await nameAt(empty)).toBeUndefined();
    expect(await room.json('status', ...at(own))).toMatchObject({ incarnation: 1 });
    expect((await room.run(['status', ...at(foreign)])).code).toBe(1);
    expect(await other.json('status', ...at(foreign))).toMatchObject({ incarnation: 1 });
  });

  test('[CLI-25, CLI-24] a rewound input: looking begins no incarnation; an import does, under the same name', async () => {
    const server = await startNats();
    const room = await begin();
    const at = ['--nats', server.url];
    await room.json('import', 'visits', 'v.ndjson', ...at);
    const named = await nameAt(server);
    const store = path.join(server.folder, 'store');
    await server.kill();
    cpSync(store, `${store}.copy`, { recursive: true });
    await server.run();
    await room.json('import', 'visits', 'w.ndjson', ...at);
    const { n } = await room.json<Note>('status', ...at);
    await server.kill();
    rmSync(store, { recursive: true });
    renameSync(`${store}.copy`, store);
    await server.run();
    for (const args of looks) {
      const { code, err } = await room.run([...args, ...at]);
      expect([args[0], code]).toEqual([args[0], 1]);
      expect(err).toContain('input-mismatch');
    }
    await room.json('import', 'visits', 'v.ndjson', ...at);
    const after = await room.json<Note>('status', ...at);
    expect(after).toMatchObject({ incarnation: 2 });
    expect(after.n).toBeGreaterThanOrEqual(n);
    expect(await nameAt(server)).toEqual(named);
    const { out } = await room.run(['export', 'visits', '--fields', 'subject', ...at]);
    expect(out.trim().split('\n')).toHaveLength(4);
  });
});
