import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { openReplica, type Replica, type Transport } from '@tidemark/node';
import { defineSchema, openServer, TidemarkError } from '@tidemark/server';
import { ClassicLevel } from 'classic-level';
import { MemoryLevel } from 'memory-level';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Child } from '../processes/child.js';
import type { VictimSaying } from '../processes/device-victim.js';
import { schema, tenant } from '../processes/kill-schema.js';
import { buildProgram } from '../processes/program.js';

type Device = Replica<typeof schema>;
type Edit = (replica: Device) => Promise<unknown>;

const database = () =>
  new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });
const openMemoryServer = () =>
  openServer({ tenant, schema, database: { store: database(), input: database() } });

let folder: string;
let server: Awaited<ReturnType<typeof openMemoryServer>>;
let replica: Device;

const openDevice = (name: string, more: { user?: string; tenant?: string } = {}): Promise<Device> =>
  openReplica({
    folder: path.join(folder, name),
    tenant,
    user: 'ana',
    schema,
    transport: server.transport,
    ...more,
  });

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidemark-bad-input-'));
  server = await openMemoryServer();
  replica = await openDevice('a');
});
afterEach(async () => {
  await replica.close();
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

/** Names that TypeScript would refuse: callers of plain JavaScript can pass them. */
const untyped = (name: unknown): never => name as never;
const own = (json: string): never => untyped(JSON.parse(json));
const long = (bytes: number): string => 'x'.repeat(bytes);

const refusals: readonly (readonly [string, string, Edit])[] = [
  ['unknown table', 'unknown-table', (one) => one.create(untyped('nope'), untyped({}))],
  ['table __proto__', 'unknown-table', (one) => one.create(untyped('__proto__'), untyped({}))],
  ['table constructor', 'unknown-table', (one) => one.get(untyped('constructor'), 'x')],
  ['query of no table', 'unknown-table', (one) => one.query(untyped('nope'))],
  [
    'unknown field',
    'unknown-field',
    (one) => one.create('visits', untyped({ subject: 's', nope: 1 })),
  ],
  [
    'field __proto__',
    'unknown-field',
    (one) => one.create('visits', own('{"subject":"s","__proto__":"x"}')),
  ],
  [
    'field constructor',
    'unknown-field',
    (one) => one.update('visits', 'kept', own('{"constructor":"x"}')),
  ],
  ['wrong type', 'invalid-value', (one) => one.create('visits', untyped({ subject: 5 }))],
  [
    'object with __proto__',
    'invalid-value',
    (one) => one.create('visits', own('{"subject":{"__proto__":{"a":1}}}')),
  ],
  ['no required value', 'required-field', (one) => one.create('visits', untyped({}))],
  ['NaN', 'invalid-value', (one) => one.increment('visits', 'kept', 'count', Number.NaN)],
  [
    'record of no id',
    'unknown-record',
    (one) => one.update('visits', '__proto__', { subject: 'x' }),
  ],
  ['empty id', 'invalid-id', (one) => one.create('visits', { subject: 's' }, { id: '' })],
  ['id with NUL', 'invalid-id', (one) => one.create('visits', { subject: 's' }, { id: 'a\0b' })],
  ['half a pair', 'invalid-id', (one) => one.create('visits', { subject: 's' }, { id: '\ud800' })],
  [
    'long id',
    'invalid-id',
    (one) => one.create('visits', { subject: 's' }, { id: 'é'.repeat(128) }),
  ],
  [
    'id of no text',
    'invalid-id',
    (one) => one.create('visits', { subject: 's' }, untyped({ id: 5 })),
  ],
  ['no id', 'unknown-record', (one) => one.update('visits', untyped(null), { subject: 'x' })],
  ['list as id', 'unknown-record', (one) => one.delete('visits', untyped(['kept']))],
  ['bigint', 'invalid-value', (one) => one.increment('visits', 'kept', 'count', untyped(1n))],
  [
    'unknown durability',
    'invalid-option',
    (one) => one.create('visits', { subject: 's' }, untyped({ durability: 'disc' })),
  ],
  [
    'unknown atomicity',
    'invalid-option',
    (one) =>
      one.transaction(
        (edits) => edits.create('visits', { subject: 's' }),
        untyped({ atomicity: 'per-field' }),
      ),
  ],
  ['same id', 'record-exists', (one) => one.create('visits', { subject: 's' }, { id: 'kept' })],
  [
    'large transaction',
    'transaction-too-large',
    (one) =>
      one.transaction(async (edits) => {
        for (let i = 0; i < 30; i += 1) await edits.create('visits', { subject: long(10_000) });
      }),
  ],
  [
    '1,001 operations',
    'transaction-too-large',
    (one) =>
      one.transaction(async (edits) => {
        for (let i = 0; i <= 1_000; i += 1) await edits.create('visits', { subject: 's' });
      }),
  ],
  [
    'a bad edit behind good ones',
    'unknown-field',
    (one) =>
      one.transaction(async (edits) => {
        await edits.create('visits', { subject: 'half' }, 'half');
        await edits.update('visits', 'kept', own('{"nope":1}'));
      }),
  ],
];

test('[SRV-63] a run ends by itself where nothing else keeps the process', async () => {
  const program = await buildProgram('lonely-run');
  const { stdout } = await promisify(execFile)(process.execPath, [
    program,
    path.join(folder, 'lonely'),
  ]);
  expect(stdout).toBe('pending');
});

describe('edits', () => {
  beforeEach(async () => {
    await replica.create('visits', { subject: 'kept' }, { id: 'kept' });
  });

  test.each(refusals)('[REP-60] %s is refused with %s', async (_name, code, edit) => {
    const pending = await replica.pending();
    const prints = await replica.fingerprint('visits');
    await expect(edit(replica)).rejects.toMatchObject({ _tag: 'TidemarkError', code });
    expect(await replica.pending()).toEqual(pending);
    expect(await replica.fingerprint('visits')).toBe(prints);
    expect(replica.status.pending.operations).toBe(1);
    // The log ends where it ended: the next operation follows without a gap, also after a restart.
    await replica.close();
    replica = await openDevice('a');
    await replica.create('visits', { subject: 'next' });
    expect((await replica.pending()).map(({ index }) => index)).toEqual([1, 2]);
    expect(await replica.sync()).toMatchObject({ result: 'synced', parked: 0 });
    expect(await server.query('visits')).toHaveLength(2);
  });

  test('[REP-60] a read by what is no id finds nothing', async () => {
    for (const id of ['', 'a\0b', '\ud800', 5, null, ['kept'], {}]) {
      expect(await replica.get('visits', untyped(id))).toBeUndefined();
      expect(await replica.recordState('visits', untyped(id))).toBe('current');
      expect(await server.get('visits', untyped(id))).toBeUndefined();
    }
  });

  test('[REP-60] a record that grows beyond its bound is refused at the edit that would do it', async () => {
    let refused: unknown;
    for (let i = 0; i < 4 && refused === undefined; i += 1) {
      const note = (await replica.get('visits', 'kept'))?.note ?? '';
      refused = await replica
        .editText('visits', 'kept', 'note', { at: note.length, remove: 0, insert: long(200_000) })
        .then(
          () => undefined,
          (error: unknown) => error,
        );
    }
    expect(refused).toMatchObject({ code: 'record-too-large' });
    const [{ note } = { note: '' }] = await replica.query('visits');
    expect((note ?? '').length).toBeLessThan(524_288);
    // Texts of this size take the server a while: a run may end before they are merged.
    for (let i = 0; i < 10 && !replica.status.synced; i += 1) await replica.sync();
    expect(replica.status).toMatchObject({ synced: true, parked: 0, error: null });
    expect((await server.get('visits', 'kept'))?.note).toBe(note);
  });
});

test('[REP-61] strange ids and values work from device to device', async () => {
  const ids = [
    '__proto__',
    'constructor',
    'a.b.c',
    'two words ',
    '*',
    '>',
    'tm.acme.ops.>',
    '/',
    '..',
    'Žilina',
    '日本',
    '\u{1f600}',
    'e\u0301',
    '\u00e9',
    '\ufeff',
    '\u2028',
    '"\\\'',
    '%00',
    'é'.repeat(127),
  ];
  for (const id of ids) await replica.create('visits', { subject: id }, { id });
  for (const id of ids) await replica.increment('visits', id, 'count', 2);
  await replica.editText('visits', '__proto__', 'note', '__proto__');
  expect(await replica.sync()).toMatchObject({ result: 'synced', error: null, parked: 0 });
  const other = await openDevice('b', { user: 'ben' });
  try {
    expect(await other.sync()).toMatchObject({ result: 'synced', error: null });
    for (const id of ids) {
      expect(await other.get('visits', id)).toMatchObject({ id, subject: id, count: 2 });
      expect(await server.get('visits', id)).toMatchObject({ id, subject: id, count: 2 });
    }
    for (const id of ids) await other.update('visits', id, { subject: `${id}!` });
    await other.delete('visits', '*');
    await other.sync();
    await replica.sync();
    expect((await replica.query('visits')).map(({ subject }) => subject).sort()).toEqual(
      ids
        .filter((id) => id !== '*')
        .map((id) => `${id}!`)
        .sort(),
    );
    const prints = [replica, other].map((one) => one.fingerprint('visits'));
    expect(new Set([...(await Promise.all(prints)), await server.fingerprint('visits')]).size).toBe(
      1,
    );
  } finally {
    await other.close();
  }
});

describe('server and customization', () => {
  const office = { user: 'office' };
  const wrongs: readonly (readonly [string, string, unknown])[] = [
    ['unknown table', 'unknown-table', { kind: 'put', table: '__proto__', id: 'x', fields: {} }],
    [
      'unknown field',
      'unknown-field',
      own('{"kind":"put","table":"visits","id":"x","fields":{"__proto__":1}}'),
    ],
    [
      'wrong type',
      'invalid-value',
      { kind: 'put', table: 'visits', id: 'x', fields: { subject: 1 } },
    ],
    ['no required value', 'required-field', { kind: 'put', table: 'visits', id: 'x', fields: {} }],
    ['empty id', 'invalid-id', { kind: 'put', table: 'visits', id: '', fields: { subject: 's' } }],
    [
      'large record',
      'record-too-large',
      { kind: 'put', table: 'visits', id: 'x', fields: { subject: 's', note: long(600_000) } },
    ],
    [
      'NaN',
      'invalid-value',
      { kind: 'increment', table: 'visits', id: 'x', by: { count: Number.NaN } },
    ],
  ];

  test.each(wrongs)('[SRV-92] a write with %s is refused with %s', async (_name, code, wrong) => {
    const good = { kind: 'put', table: 'visits', id: 'good', fields: { subject: 's' } };
    const before = server.status().state.n;
    await expect(server.write([good, wrong] as never, office)).rejects.toMatchObject({
      _tag: 'TidemarkError',
      code,
    });
    await server.settle();
    expect(server.status().state.n).toBe(before);
    expect(await server.query('visits')).toEqual([]);
  });

  const visits = {
    id: 1,
    fields: { subject: { id: 1, type: 'string', required: false } },
  };
  const malformed: readonly (readonly [string, unknown, readonly string[]])[] = [
    [
      'shape',
      {
        version: 1,
        tables: {
          visits: { ...visits, rule: 'nobody-wins', onDelete: 5 },
          tasks: { id: 2, fields: { a: { id: 1, type: 'strong', required: false } } },
        },
      },
      ['tables[0].onDelete', 'tables[0].rule', 'tables[1].fields[0].type'],
    ],
    [
      'meaning',
      {
        version: 0,
        tables: {
          visits: { ...visits, id: 70_000, indexes: { byNothing: ['nothing'] } },
          tasks: {
            id: 2,
            scopeKey: 'nothing',
            fields: {
              one: { id: 1, type: 'string', required: false },
              twice: { id: 1, type: 'string', required: false },
              other: { id: 2, type: 'reference', table: 'nowhere', required: false },
            },
          },
        },
      },
      [
        'tables[0].id',
        'tables[0].indexes[0].fields[0]',
        'tables[1].fields[1].id',
        'tables[1].fields[2].table',
        'tables[1].scopeKey',
        'version',
      ],
    ],
  ];

  test.each(malformed)(
    '[REP-62] a customization that is malformed in its %s tells every problem with its path',
    (_name, wrong, paths) => {
      const refused = (() => {
        try {
          return defineSchema(wrong as never);
        } catch (error) {
          return error;
        }
      })();
      expect(refused).toMatchObject({ _tag: 'TidemarkError', code: 'invalid-customization' });
      const problems = (refused as TidemarkError).details['problems'] as readonly {
        path: string;
        message: string;
      }[];
      expect(problems.map((one) => one.path).sort()).toEqual(paths);
      for (const { message } of problems) expect(message).not.toBe('');
    },
  );
});

describe('folders', () => {
  const hashes = async (of: string): Promise<ReadonlyMap<string, string>> => {
    const found = new Map<string, string>();
    for (const entry of await readdir(of, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = path.join(entry.parentPath, entry.name);
      const bytes = await readFile(file);
      found.set(path.relative(of, file), createHash('sha256').update(bytes).digest('hex'));
    }
    return found;
  };
  const makeNewer = async (marker: string): Promise<void> => {
    const bytes = await readFile(marker);
    bytes[0] = 99;
    await writeFile(marker, bytes);
  };
  const nowhere: Transport = {
    open: () => Promise.reject(new TidemarkError('unreachable', 'the test has no server')),
  };

  test('[REP-63] a replica folder of a newer format is refused and left as it is', async () => {
    await replica.create('visits', { subject: 's' });
    await replica.close();
    const at = path.join(folder, 'a');
    await makeNewer(path.join(at, 'marker'));
    const before = await hashes(at);
    await expect(openDevice('a')).rejects.toMatchObject({ code: 'newer-format' });
    expect(await hashes(at)).toEqual(before);
    replica = await openDevice('unused');
  });

  test('[REP-63] a newer format inside the database is refused, and no entry of it changes', async () => {
    await replica.create('visits', { subject: 's' });
    await replica.close();
    const at = path.join(folder, 'a', 'store');
    const view = { keyEncoding: 'view', valueEncoding: 'view' } as const;
    const entries = async (change: boolean): Promise<string> => {
      const level = new ClassicLevel<Uint8Array, Uint8Array>(at, view);
      const all = await level.iterator().all();
      if (change) {
        const [key, value] = all.find(
          ([, bytes]) => Buffer.from(bytes).subarray(17).toString() === 'replica',
        ) as [Uint8Array, Uint8Array];
        await level.put(key, Uint8Array.of(99, ...value.subarray(1)));
      }
      const text = (await level.iterator().all())
        .map((pair) => pair.map((bytes) => Buffer.from(bytes).toString('hex')).join('='))
        .join('\n');
      await level.close();
      return text;
    };
    const before = await entries(true);
    await expect(openDevice('a')).rejects.toMatchObject({ code: 'newer-format' });
    expect(await entries(false)).toBe(before);
    replica = await openDevice('unused');
  });

  test.each(['store', 'input'])(
    '[SRV-93] a server folder whose %s is of a newer format is refused and left as it is',
    async (part) => {
      const at = path.join(folder, 'server');
      const one = await openServer({ tenant, schema, folder: at });
      await one.write((writer) => writer.put('tally', 't', { total: 1 }), { user: 'office' });
      await one.close();
      const kept = path.join(folder, 'kept');
      await cp(at, kept, { recursive: true });
      await makeNewer(path.join(at, `${part}.marker`));
      const before = await hashes(at);
      await expect(openServer({ tenant, schema, folder: at })).rejects.toMatchObject({
        code: 'newer-format',
      });
      if (part === 'input') expect(await hashes(at)).toEqual(before);
      // The input is opened before the store is looked at: LevelDB turns its log over, content stays.
      const again = path.join(at, `${part}.marker`);
      await cp(path.join(kept, `${part}.marker`), again);
      const healed = await openServer({ tenant, schema, folder: at });
      expect(await healed.get('tally', 't')).toMatchObject({ total: 1 });
      await healed.close();
    },
  );

  test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])(
    '[SRV-99] %d is no limit of a history, of sync errors, of logs; 0 is, and so is more than there is',
    async (limit) => {
      const server = await openMemoryServer();
      await server.write((writer) => writer.put('tally', 't', { total: 1 }), { user: 'office' });
      const refused = expect.objectContaining({ code: 'invalid-option' });
      await expect(server.explain('tally', 't', undefined, limit)).rejects.toEqual(refused);
      await expect(server.errors.list({ limit })).rejects.toEqual(refused);
      await expect(server.syncLogs(limit)).rejects.toEqual(refused);
      expect(await server.explain('tally', 't', undefined, 0)).toEqual([]);
      expect(await server.errors.list({ limit: 0 })).toEqual([]);
      expect(await server.syncLogs(0)).toEqual([]);
      expect(await server.explain('tally', 't', undefined, 1e9)).not.toEqual([]);
      await server.close();
    },
  );

  test.each(['', 'x'.repeat(256), untyped(7)])(
    '[SRV-100] a server of the tenant %j is refused, and no folder is made',
    async (name) => {
      const at = path.join(folder, 'of-nobody');
      await expect(openServer({ tenant: name, schema, folder: at })).rejects.toMatchObject({
        code: 'invalid-option',
        details: { option: 'tenant' },
      });
      await expect(readdir(at)).rejects.toMatchObject({ code: 'ENOENT' });
    },
  );

  test('[REP-66, REP-91] another user, tenant, handle or process finds the folder in use', async () => {
    await replica.create('visits', { subject: 's' }, { id: 'mine' });
    const inUse = { code: 'folder-in-use' };
    await expect(openDevice('a')).rejects.toMatchObject(inUse);
    const program = await buildProgram('device-victim');
    const child = new Child<VictimSaying>(program, [path.join(folder, 'a'), 'rest']);
    await child.gone;
    expect(child.heard).toEqual([]);
    expect(child.errorText).toContain('folder-in-use');
    await replica.close();
    await expect(openDevice('a', { user: 'ben' })).rejects.toMatchObject(inUse);
    await expect(openDevice('a', { tenant: 'other' })).rejects.toMatchObject(inUse);
    replica = await openReplica({
      folder: path.join(folder, 'a'),
      tenant,
      user: 'ana',
      schema,
      transport: nowhere,
    });
    expect(await replica.get('visits', 'mine')).toMatchObject({ subject: 's' });
  });
});
