import { writeFileSync } from 'node:fs';
import { cliReference } from '@tidemark/cli';
import { afterEach, expect, test } from 'vitest';
import { CommandFolder } from '../processes/command-line.js';
import { natsProgram } from '../processes/nats-server.js';
import { freePort } from '../processes/serving.js';

const folders: CommandFolder[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
});

/** What a line of the table may need to know of what came before. */
interface Seen {
  error: string;
  readonly port: string;
}

interface Line {
  readonly args: (seen: Seen) => string;
  /** Text that the human output must hold. */
  readonly shows: string;
  /** Exit codes that it may end with; 0 when left out. */
  readonly codes?: readonly number[];
  /** Runs until it has written this. */
  readonly until?: string;
  /** Prints rows as they are, whatever `--json` says. */
  readonly isData?: boolean;
}

const of =
  (args: string, shows: string, more: Omit<Line, 'args' | 'shows'> = {}) =>
  (command: string): readonly [string, Line] => [
    command,
    { args: () => `${command} ${args}`.trim(), shows, ...more },
  ];

const other = '--device data/other';

/** Every command once, in an order in which each has something to do. */
const lines: readonly (readonly [string, Line])[] = [
  of('--tenant acme', 'wrote ')('init'),
  of('', 'version 1')('validate'),
  of('--show', 'tidemark.config.json')('config'),
  of('cursor.key', 'TIDEMARK_CURSOR_KEY')('key'),
  of('visits v.ndjson', '2 imported')('import'),
  of('', 'synced')('device sync'),
  of(other, 'synced')('device sync'),
  of('visits a status=done', 'pending until a sync')('device update'),
  of('visits a parts 2', 'pending until a sync')('device increment'),
  of('visits a report Fine.', 'pending until a sync')('device text'),
  of('visits subject=New', 'pending until a sync')('device create'),
  of('', 'visits')('device pending'),
  of('', 'synced')('device sync'),
  of(`visits a status=cancelled ${other}`, 'pending')('device update'),
  of(other, 'wait for a person')('device sync'),
  of('visits a', 'done')('device get'),
  of('visits', 'Fine.')('device query'),
  of('visits b', 'pending until a sync')('device delete'),
  of('', 'replica ')('device status'),
  of(other, 'conflict')('device errors'),
  of('', 'synced')('device logs'),
  of('', 'update visits')('device oplog'),
  of('', 'conflict')('errors list'),
  ['errors show', { args: ({ error }) => `errors show ${error}`, shows: 'cancelled' }],
  [
    'device resolve',
    {
      args: ({ error }) => `device resolve ${error} --action merge --choose status=mine ${other}`,
      shows: 'the next sync brings it',
    },
  ],
  [
    'errors resolve',
    { args: ({ error }) => `errors resolve ${error} --action take-server`, shows: 'resolved' },
  ],
  of('visits a', 'status')('explain'),
  of('', 'tenant acme')('status'),
  of('', 'user-a')('logs'),
  of('', 'version 1 is in force already')('publish'),
  of('visits', '"id":"a"', { isData: true })('export'),
  of('', 'made the keys of NATS')('identity init'),
  of('--for user-a --name tablet --out tablet.json', 'for user-a on tablet')('enroll'),
  of('', 'anybody is heard')('identity list'),
  // There is no NATS yet that could be told.
  of('--name tablet', 'revoked device tablet', { codes: [3] })('revoke'),
  of('copies', 'digest')('backup'),
  of('copies --replace', 'the backup was of')('restore'),
  of('beta', 'added beta')('tenant add'),
  of('', 'beta')('tenant list'),
  of('acme exports', 'all of tenant acme')('tenant export'),
  of('beta --yes', 'removed beta')('tenant remove'),
  // It warns of a full disk, or where there is no nats-server.
  of('', 'ok   node', { codes: [0, 3] })('doctor'),
  ...(natsProgram === undefined
    ? []
    : ([
        [
          'serve',
          {
            args: ({ port }: Seen) => `serve --tenant acme --move-input --port ${port}`,
            shows: 'health and metrics at http://127.0.0.1:',
            until: 'health and metrics',
          },
        ],
        [
          'dev',
          {
            args: ({ port }: Seen) => `dev --tenant acme --port ${port}`,
            shows: 'Try in another terminal',
            until: 'watching',
          },
        ],
      ] as const)),
  of('', 'only enrolled devices are heard')('identity require'),
];

/** Commands of the reference that have no commands below them. */
const leaves = (): readonly string[] => {
  const names = [...cliReference().matchAll(/^## tidemark (.+)$/gm)].map((match) => match[1] ?? '');
  return names.filter((name) => !names.some((one) => one.startsWith(`${name} `)));
};

const begin = async (): Promise<{ readonly folder: CommandFolder; readonly seen: Seen }> => {
  const folder = new CommandFolder('');
  folders.push(folder);
  writeFileSync(
    folder.file('v.ndjson'),
    '{"id":"a","subject":"A","status":"planned"}\n{"id":"b","subject":"B"}\n',
  );
  return { folder, seen: { error: '', port: String(await freePort()) } };
};

const noteError = async (folder: CommandFolder, seen: Seen, command: string): Promise<void> => {
  if (command !== 'errors list') return;
  const [error] = await folder.json<{ readonly id: string }[]>('errors', 'list');
  seen.error = error?.id ?? '';
};

test('[CLI-71] every command is tried below, and tells what it does with --help', async () => {
  const without = natsProgram === undefined ? ['serve', 'dev'] : [];
  const tried = new Set([...lines.map(([command]) => command), ...without]);
  expect([...tried].sort()).toEqual([...leaves()].sort());
  const folder = new CommandFolder('');
  folders.push(folder);
  for (const command of leaves()) {
    const { code, out, err } = await folder.call([...command.split(' '), '--help']);
    expect([code, err], command).toEqual([0, '']);
    expect(out, command).toContain(`Usage: tidemark ${command}`);
    // A sentence on what it does, before its arguments and options.
    expect(out.split('\n\n')[1], command).toMatch(/^[A-Z][\s\S]*[.:]$/);
  }
});

test('[CLI-71, CLI-3] every command tells people what it did, without colour', async () => {
  const { folder, seen } = await begin();
  for (const [command, { args, shows, codes = [0], until }] of lines) {
    const given = args(seen).split(' ');
    const ended =
      until === undefined ? await folder.call(given) : await folder.callUntil(until, given);
    expect(codes, `${given.join(' ')}\n${ended.out}${ended.err}`).toContain(ended.code);
    expect(ended.out, given.join(' ')).toContain(shows);
    expect(ended.out + ended.err, given.join(' ')).not.toContain('\u001b');
    await noteError(folder, seen, command);
  }
});

test('[CLI-71, CLI-2] every command writes JSON with --json, and nothing else', async () => {
  const { folder, seen } = await begin();
  for (const [command, { args, codes = [0], until, isData = false }] of lines) {
    const given = [...args(seen).split(' '), '--json'];
    const ended =
      until === undefined
        ? await folder.call(given)
        : await folder.callUntil(command === 'serve' ? '"serving"' : '"watching"', given);
    expect(codes, `${given.join(' ')}\n${ended.out}${ended.err}`).toContain(ended.code);
    const documents = ended.out.trimEnd().split('\n');
    if (!isData)
      for (const document of documents)
        expect(() => JSON.parse(document) as unknown, given.join(' ')).not.toThrow();
    const isStream = until !== undefined || command === 'device oplog' || isData;
    if (!isStream) expect(documents, given.join(' ')).toHaveLength(1);
    for (const line of ended.err.split('\n').filter((one) => one !== ''))
      expect(() => JSON.parse(line) as unknown, `${given.join(' ')}: ${line}`).not.toThrow();
    await noteError(folder, seen, command);
  }
});
