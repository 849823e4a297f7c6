/** Imports and exports that go on, or must not. */
import { spawn } from 'node:child_process';
import { cpSync, renameSync, rmSync, statSync, truncateSync, utimesSync } from 'node:fs';
import { stringLengthMax } from '@tidemark/model';
import { afterEach, describe, expect, test } from 'vitest';
import { CommandRoom, stopAfterLooks } from '../processes/command-room.js';
import { buildProgram } from '../processes/program.js';

const rooms: CommandRoom[] = [];
afterEach(() => {
  for (const room of rooms.splice(0)) room.dispose();
});
const begin = async (): Promise<CommandRoom> => {
  const room = new CommandRoom();
  rooms.push(room);
  await room.json('init', '--tenant', 'acme');
  return room;
};

const rowsMax = 30;
const badRow = 7;
const state = 'v.csv.import-state.json';
const lines = (rows: number): readonly string[] => [
  'id,subject,status',
  ...Array.from({ length: rows }, (_, at) =>
    at + 1 === badRow ? `v${at + 1},,planned` : `v${at + 1},Visit ${at + 1},planned`,
  ),
];
const csv = `${lines(rowsMax).join('\n')}\n`;
const args = ['import', 'visits', 'v.csv', '--step-rows', '10'];
const stopped = (): AbortSignal => AbortSignal.abort();
const ids = async (room: CommandRoom): Promise<readonly string[]> => {
  const { out } = await room.run(['export', 'visits', '--format', 'ndjson', '--fields', 'subject']);
  return out
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { readonly id: string }).id);
};

/** A room in which an import of `v.csv` ended after its first step. */
const beginImport = async (...more: string[]): Promise<CommandRoom> => {
  const room = await begin();
  room.write('v.csv', csv);
  expect((await room.run([...args, ...more], stopped())).code).toBe(130);
  expect(JSON.parse(room.read(state))).toMatchObject({ rows: 10, rejected: 1 });
  return room;
};

const expectRefused = async (
  room: CommandRoom,
  code: number,
  more: readonly string[] = [],
): Promise<void> => {
  const refused = await room.run([...args, ...more]);
  expect(refused.code).toBe(code);
  expect(refused.err).toContain('--restart');
};

describe('an import that goes on', () => {
  test('[CLI-12] it does where the server holds what it noted, whatever was written since', async () => {
    const room = await beginImport();
    room.write('more.csv', 'id,subject\nx1,More\n');
    await room.json('import', 'visits', 'more.csv');
    await room.json('status');
    const { code, out } = await room.run([...args, '--json']);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({ rows: rowsMax, rejected: 1, resumedAfter: 10 });
    expect(await ids(room)).toHaveLength(rowsMax);
    expect(room.has(state)).toBe(false);
  });

  test('[CLI-12] it does not on a server that was begun anew', async () => {
    const room = await beginImport();
    rmSync(room.file('data', 'server'), { recursive: true });
    // More versions than were noted do not make it the same server.
    room.write('more.csv', `${lines(40).join('\n')}\n`.replaceAll('\nv', '\nx'));
    await room.run(['import', 'visits', 'more.csv', '--step-rows', '1']);
    await expectRefused(room, 2);
    expect((await room.run([...args, '--restart'])).code).toBe(3);
    expect(await ids(room)).toHaveLength(39 + 29);
  });

  test('[CLI-12] it does not on a server that was put back to a copy', async () => {
    const room = await begin();
    room.write('first.csv', 'id,subject\nx1,First\n');
    await room.json('import', 'visits', 'first.csv');
    cpSync(room.file('data', 'server'), room.file('copy'), { recursive: true });
    await room.json('backup', 'copies');
    room.write('v.csv', csv);
    expect((await room.run(args, stopped())).code).toBe(130);
    renameSync(room.file('data', 'server'), room.file('kept'));
    cpSync(room.file('copy'), room.file('data', 'server'), { recursive: true });
    room.write('more.csv', `${lines(40).join('\n')}\n`.replaceAll('\nv', '\nx'));
    await room.run(['import', 'visits', 'more.csv']);
    await expectRefused(room, 2);
    await room.json('restore', 'copies', '--replace');
    await expectRefused(room, 2);
    // The server that has them is the one that it goes on with.
    rmSync(room.file('data', 'server'), { recursive: true });
    renameSync(room.file('kept'), room.file('data', 'server'));
    expect((await room.run(args)).code).toBe(3);
    expect(await ids(room)).toHaveLength(rowsMax);
  });

  test('[CLI-12] a file that was changed or written again, and other options, are refused', async () => {
    const room = await beginImport();
    const { mtime } = statSync(room.file('v.csv'));
    room.write('v.csv', csv.replace('Visit 3', 'Visit X'));
    utimesSync(room.file('v.csv'), mtime, mtime);
    await expectRefused(room, 1);
    room.write('v.csv', csv);
    utimesSync(room.file('v.csv'), mtime, new Date(mtime.getTime() + 5_000));
    await expectRefused(room, 1);
    utimesSync(room.file('v.csv'), mtime, mtime);
    await expectRefused(room, 1, ['--bad-rows', 'refuse']);
    await expectRefused(room, 1, ['--delimiter', ';']);
    await expectRefused(room, 1, ['--map', 'status=report']);
    expect((await room.run(args)).code).toBe(3);
  });

  test('[CLI-11, CLI-12] --dry-run changes nothing of an interrupted import', async () => {
    const room = await beginImport();
    const before = room.read(state);
    const rejects = room.read('v.csv.rejects.ndjson');
    const { code, out } = await room.run([...args, '--dry-run', '--restart', '--json']);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({ rows: rowsMax, rejected: 1, resumedAfter: 0 });
    expect(room.read(state)).toBe(before);
    expect(room.read('v.csv.rejects.ndjson')).toBe(rejects);
    expect(room.read('v.csv.rejects.ndjson.dry-run')).toBe(rejects);
    expect((await room.run(args)).code).toBe(3);
    expect(room.read('v.csv.rejects.ndjson')).toBe(rejects);
  });

  test('[CLI-12] a file of bad rows that lost some is refused', async () => {
    const room = await beginImport();
    truncateSync(room.file('v.csv.rejects.ndjson'), 20);
    await expectRefused(room, 1);
    rmSync(room.file('v.csv.rejects.ndjson'));
    await expectRefused(room, 1);
  });

  test('[CLI-1] large rows do not put off an interrupt', async () => {
    const room = await begin();
    room.write(
      'tidemark.schema.json',
      room.read('tidemark.schema.json').replace(',\n          "maxLength": 200', ''),
    );
    const subject = 'x'.repeat(stringLengthMax);
    const rows = Array.from({ length: 120 }, (_, at) => JSON.stringify({ id: `v${at}`, subject }));
    room.write('v.ndjson', rows.join('\n'));
    const { code } = await room.run(['import', 'visits', 'v.ndjson'], stopped());
    expect(code).toBe(130);
    const noted = JSON.parse(room.read('v.ndjson.import-state.json')) as { readonly rows: number };
    expect(noted.rows).toBeLessThan(110);
  });

  test('[CLI-16] wrong columns are refused also where there is no row, and no header', async () => {
    const room = await begin();
    for (const [text, word] of [
      ['', 'no column id'],
      ['subject,status\n', 'no column id'],
      ['id,colour\n', 'colour'],
    ] as const) {
      room.write('w.csv', text);
      const { code, err } = await room.run(['import', 'visits', 'w.csv']);
      expect(code).toBe(1);
      expect(err).toContain(word);
    }
    const twice = await room.run(['import', 'visits', 'v.csv', '--delimiter', '||']);
    expect(twice.code).toBe(2);
  });
});

describe('an export that goes on', () => {
  test('[CLI-15] it does not in a file that lost what was noted', async () => {
    const room = await begin();
    room.write('v.csv', `${lines(1_100).join('\n')}\n`);
    expect((await room.run(['import', 'visits', 'v.csv'])).code).toBe(3);
    const out = ['export', 'visits', '--out', 'all.csv'];
    expect((await room.run(out, stopAfterLooks(1))).code).toBe(130);
    const { bytes } = JSON.parse(room.read('all.csv.export-state.json')) as {
      readonly bytes: number;
    };
    const kept = room.read('all.csv');
    truncateSync(room.file('all.csv'), bytes - 5);
    const refused = await room.run(out);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('--restart');
    room.write('all.csv', kept);
    expect(await room.json(...out)).toMatchObject({ records: 1_099, resumedAfter: 1_000 });
    const whole = await room.run(['export', 'visits', '--format', 'csv']);
    expect(room.read('all.csv')).toBe(whole.out);
  });
});

test('[CLI-6] an export behind head ends without a word', async () => {
  const entry = await buildProgram('tidemark');
  const room = await begin();
  room.write('v.csv', `${lines(2_500).join('\n')}\n`);
  expect((await room.run(['import', 'visits', 'v.csv'])).code).toBe(3);
  const child = spawn(process.execPath, [entry, 'export', 'visits'], {
    cwd: room.path,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => (err += part));
  // As `head` does: it reads the first part and closes.
  child.stdout.once('data', () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect([code, err]).toEqual([130, '']);
});

test('[CLI-4] a configuration that cannot be read is told by its place, not by its text', async () => {
  const room = await begin();
  room.write(
    'tidemark.config.json',
    '{\n  "tenant": "acme",\n  "nats": { "password": hunter2 }\n}',
  );
  for (const more of [[], ['--json']]) {
    const { code, out, err } = await room.run(['config', ...more]);
    expect(code).toBe(1);
    expect(out + err).not.toContain('hunter');
    expect(err).toContain('line 3, column 25');
  }
  room.write('tidemark.config.mjs', 'export default { nats: { password: hunter2 } };');
  const { code, err } = await room.run(['config', '--config', 'tidemark.config.mjs']);
  expect(code).toBe(1);
  expect(err).not.toContain('hunter');
});
