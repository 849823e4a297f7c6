import { readFileSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cliReference } from '@tidemark/cli';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CommandFolder, until } from '../processes/command-line.js';
import { buildProgram } from '../processes/program.js';

const folders: CommandFolder[] = [];
let entry = '';
beforeAll(async () => {
  entry = await buildProgram('tidemark');
});
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
});

const begin = async (): Promise<CommandFolder> => {
  const folder = new CommandFolder(entry);
  folders.push(folder);
  await folder.json('init', '--tenant', 'acme');
  return folder;
};

interface Reject {
  readonly row: number;
  readonly line: number;
  readonly problems: readonly { readonly code: string; readonly field: string | null }[];
}

const rejectsOf = (text: string): readonly Reject[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Reject);

const rowsMax = 3_000;
const isBad = (row: number): boolean => row % 97 === 0;
/** Rows of which every 97th is bad, in one of four ways. */
const largeCsv = (rows = rowsMax): string => {
  const lines = ['id,subject,status,parts,due,report'];
  const bad = [
    (id: string) => `${id},,planned,1,2026-01-02,x`,
    (id: string) => `${id},Visit,lost,1,2026-01-02,x`,
    (id: string) => `${id},Visit`,
    (id: string) => `${id},"Vi"sit,planned,1,2026-01-02,x`,
  ];
  for (let row = 1; row <= rows; row += 1) {
    const id = `v${String(row).padStart(6, '0')}`;
    const wrong = bad[(row / 97) % bad.length];
    if (isBad(row) && wrong !== undefined) lines.push(wrong(id));
    else
      lines.push(`${id},"Visit ""${row}""",${row % 2 === 0 ? 'done' : 'planned'},${row % 7},,""`);
  }
  return `${lines.join('\n')}\n`;
};
const badRows = Array.from({ length: rowsMax }, (_, at) => at + 1).filter(isBad);

describe('results', () => {
  test('[CLI-1, CLI-4] each failure has its exit code, its code and what to do', async () => {
    const folder = await begin();
    const unknown = await folder.run(['frobnicate']);
    expect(unknown).toMatchObject({ code: 2, out: '' });
    expect(unknown.err).toContain('What to do: ');
    const missing = await folder.run(['import', 'visits']);
    expect(missing.code).toBe(2);
    const none = await folder.run(['status']);
    expect(none.code).toBe(1);
    expect(none.err).toMatch(/^Error invalid-option: .*\nWhat to do: /);
    expect((await folder.run(['--help'])).code).toBe(0);
  });

  test('[CLI-2] with --json the standard output is JSON and failures are JSON elsewhere', async () => {
    const folder = await begin();
    for (const args of [['validate'], ['config'], ['doctor']]) {
      const { out } = await folder.call([...args, '--json']);
      expect(out.trim().split('\n')).toHaveLength(1);
      expect(() => JSON.parse(out) as unknown).not.toThrow();
    }
    for (const args of [['status'], ['nothing'], ['device', 'get', 'visits', 'none']]) {
      const { code, out, err } = await folder.call([...args, '--json']);
      expect(code).not.toBe(0);
      expect(out).toBe('');
      const { error } = JSON.parse(err) as { readonly error: { readonly code: string } };
      expect(error.code).not.toBe('bug');
    }
  });

  test('[CLI-3] tables hold no control characters of values and no colour', async () => {
    const folder = await begin();
    await folder.call(['device', 'create', 'visits', 'subject=\u001b[31mred\u0007', '--id', 'a']);
    const { out } = await folder.call(['device', 'query', 'visits']);
    expect(out).toContain('red');
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    const { err } = await folder.call(['nothing']);
    expect(err).not.toContain('\u001b');
  });

  test('[CLI-5] flags win over variables, variables over the file; secrets are not shown', async () => {
    const folder = await begin();
    const shown = async (args: readonly string[], env: Readonly<Record<string, string>>) => {
      const { out } = await folder.call(['config', '--show', '--json', ...args], env);
      const { settings } = JSON.parse(out) as {
        readonly settings: readonly {
          readonly name: string;
          readonly value: unknown;
          readonly source: string;
        }[];
      };
      expect(out).not.toContain('sesame');
      const of = (name: string) => settings.find((one) => one.name === name);
      return [of('user')?.value, of('user')?.source, of('nats.password')?.source];
    };
    const env = { TIDEMARK_USER: 'by-variable', TIDEMARK_NATS_PASSWORD: 'sesame' };
    expect(await shown([], {})).toEqual(['operator', 'file', null]);
    expect(await shown([], env)).toEqual(['by-variable', 'variable', 'variable']);
    expect(await shown(['--user', 'by-flag'], env)).toEqual(['by-flag', 'flag', 'variable']);
    const config = JSON.parse(folder.read('tidemark.config.json')) as object;
    writeFileSync(folder.file('tidemark.config.json'), JSON.stringify({ ...config, tenent: 'x' }));
    const { code, err } = await folder.call(['config']);
    expect(code).toBe(1);
    expect(err).toContain('tenent: there is no such setting');
  });

  test('[CLI-51] validate lists every problem with its path', async () => {
    const folder = await begin();
    expect(await folder.json('validate')).toMatchObject({ valid: true, problems: [] });
    const schema = JSON.parse(folder.read('tidemark.schema.json')) as {
      tables: { rule: string; fields: { type: string; options?: string[] }[] }[];
    };
    schema.tables[0]!.fields[1]!.options = [];
    schema.tables[0]!.fields.push({ ...schema.tables[0]!.fields[0]! });
    writeFileSync(folder.file('tidemark.schema.json'), JSON.stringify(schema));
    const { code, out } = await folder.call(['validate', '--json']);
    expect(code).toBe(1);
    const { problems } = JSON.parse(out) as {
      readonly problems: readonly { readonly path: string }[];
    };
    expect(problems.map((one) => one.path)).toEqual([
      'tables[0].fields[1].options',
      'tables[0].fields[5].id',
      'tables[0].fields[5].name',
    ]);
  });

  test('[CLI-50] doctor goes through all checks and says how to mend', async () => {
    const folder = await begin();
    writeFileSync(folder.file('tidemark.schema.json'), '{}');
    const { code, out } = await folder.call(['doctor', '--json'], {
      TIDEMARK_NATS: 'nats://127.0.0.1:1',
    });
    expect(code).toBe(1);
    const { findings } = JSON.parse(out) as {
      readonly findings: readonly {
        readonly check: string;
        readonly state: string;
        readonly mend: string | null;
      }[];
    };
    const states = new Map(findings.map(({ check, state }) => [check, state]));
    expect(states.get('node')).toBe('ok');
    expect(states.get('schema')).toBe('failed');
    expect(states.get('nats-server')).toBe('failed');
    expect(states.get('disk')).toMatch(/ok|warning/);
    for (const { state, mend } of findings)
      expect(mend !== null).toBe(state === 'warning' || state === 'failed');
    await folder.json('tenant', 'add', 'beta');
    const both = await folder.call(['doctor', '--json']);
    for (const check of ['schema of acme', 'schema of beta', 'disk of beta', 'store of beta'])
      expect(both.out).toContain(`"check":"${check}"`);
  });

  test('[CLI-52] docs/cli.md is the help of the commands', () => {
    const page = fileURLToPath(new URL('../../docs/cli.md', import.meta.url));
    expect(readFileSync(page, 'utf8')).toBe(cliReference());
  });
});

describe('rows', () => {
  test('[CLI-10, CLI-13] bad rows are told with number and line, the others imported', async () => {
    const folder = await begin();
    writeFileSync(
      folder.file('v.csv'),
      [
        'id,subject,status,parts,due,report',
        'a1,Pump,planned,3,2026-01-02,hello',
        'a2,,gone,x,2026-13-02,',
        'a3,"quo"te,planned,1,,',
        'a4,short',
        'a5,"two\nlines",done,,,""',
        ',no id,done,,,',
      ].join('\r\n'),
    );
    const { code, out } = await folder.call(['import', 'visits', 'v.csv', '--json']);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({ rows: 6, imported: 2, rejected: 4, complete: true });
    const rejects = rejectsOf(folder.read('v.csv.rejects.ndjson'));
    expect(rejects.map(({ row, line }) => [row, line])).toEqual([
      [2, 3],
      [3, 4],
      [4, 5],
      [6, 8],
    ]);
    expect(rejects[0]?.problems.map(({ code: one, field }) => [one, field])).toEqual([
      ['invalid-value', 'status'],
      ['invalid-value', 'parts'],
      ['invalid-value', 'due'],
      ['required-field', 'subject'],
    ]);
    const ended = await folder.call(['export', 'visits', '--format', 'json']);
    expect(JSON.parse(ended.out)).toEqual([
      {
        id: 'a1',
        subject: 'Pump',
        status: 'planned',
        parts: 3,
        due: '2026-01-02',
        report: 'hello',
      },
      { id: 'a5', subject: 'two\nlines', status: 'done', parts: null, due: null, report: '' },
    ]);
    writeFileSync(folder.file('open.csv'), 'id,subject\nb1,"never closed\nb2,x\n');
    const open = await folder.call(['import', 'visits', 'open.csv']);
    expect(open.code).toBe(1);
    expect(open.err).toContain('line 2');
  });

  test('[CLI-11, CLI-16] a file that is refused leaves no trace', async () => {
    const folder = await begin();
    writeFileSync(folder.file('v.ndjson'), '{"id":"a","subject":"A"}\n\n{"id":"b"}\n[1]\n');
    const refused = await folder.call([
      'import',
      'visits',
      'v.ndjson',
      '--bad-rows',
      'refuse',
      '--json',
    ]);
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.out)).toMatchObject({ imported: 0, rejected: 2, complete: false });
    expect(
      rejectsOf(folder.read('v.ndjson.rejects.ndjson')).map(({ row, line }) => [row, line]),
    ).toEqual([
      [2, 3],
      [3, 4],
    ]);
    const dry = await folder.call(['import', 'visits', 'v.ndjson', '--dry-run', '--json']);
    expect(dry.code).toBe(3);
    writeFileSync(folder.file('w.csv'), 'id,subject,colour\na,A,red\n');
    const columns = await folder.call(['import', 'visits', 'w.csv']);
    expect(columns.code).toBe(1);
    expect(columns.err).toContain('colour');
    const { out } = await folder.call(['export', 'visits']);
    expect(out).toBe('');
    const named = await folder.json('import', 'visits', 'w.csv', '--map', 'colour=report');
    expect(named).toMatchObject({ imported: 1 });
  });

  test('[CLI-12] an import that was killed counts each row once', async () => {
    const folder = await begin();
    const text = largeCsv();
    const write = (whole: string): void => {
      writeFileSync(folder.file('v.csv'), whole);
      utimesSync(folder.file('v.csv'), 1_767_323_045, 1_767_323_045);
    };
    write(text);
    const args = ['import', 'visits', 'v.csv', '--step-rows', '100', '--json'];
    const state = 'v.csv.import-state.json';
    const rowsDone = (): number =>
      folder.has(state) ? (JSON.parse(folder.read(state)) as { readonly rows: number }).rows : 0;
    for (const rows of [300, 1_200]) {
      const running = folder.start(args);
      await until(() => rowsDone() >= rows || running.child.exitCode !== null);
      running.child.kill('SIGKILL');
      expect((await running.ended).code).toBeNull();
    }
    const done = rowsDone();
    expect(done).toBeLessThan(rowsMax);
    write(`${text}more,Visit,done,1,,\n`);
    const other = await folder.call(args);
    expect(other.code).toBe(1);
    expect(other.err).toContain('--restart');
    write(text);
    const { code, out } = await folder.call(args);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({
      rows: rowsMax,
      imported: rowsMax - badRows.length,
      rejected: badRows.length,
      resumedAfter: done,
      complete: true,
    });
    expect(rejectsOf(folder.read('v.csv.rejects.ndjson')).map(({ row }) => row)).toEqual(badRows);
    expect(folder.has(state)).toBe(false);

    await folder.json('export', 'visits', '--out', 'killed.csv');
    const whole = await begin();
    writeFileSync(whole.file('v.csv'), text);
    expect((await whole.call(['import', 'visits', 'v.csv'])).code).toBe(3);
    await whole.json('export', 'visits', '--out', 'whole.csv');
    expect(folder.read('killed.csv')).toBe(whole.read('whole.csv'));
    expect(whole.read('v.csv.rejects.ndjson')).toBe(folder.read('v.csv.rejects.ndjson'));
  });

  test('[CLI-14, CLI-15] what is exported comes back equal, also from a cut export', async () => {
    const folder = await begin();
    const rows = 1_200;
    writeFileSync(folder.file('v.csv'), largeCsv(rows));
    expect((await folder.call(['import', 'visits', 'v.csv'])).code).toBe(3);
    await folder.json('export', 'visits', '--out', 'all.ndjson');
    for (const format of ['csv', 'json', 'ndjson']) {
      const out = `part.${format}`;
      const running = folder.start(['export', 'visits', '--out', out]);
      await until(() => folder.has(`${out}.export-state.json`) || running.child.exitCode !== null);
      running.child.kill('SIGKILL');
      await running.ended;
      const { records } = await folder.json<{ readonly records: number }>(
        'export',
        'visits',
        '--out',
        out,
      );
      expect(records).toBe(rows - badRows.filter((row) => row <= rows).length);
      const other = await begin();
      writeFileSync(other.file(out), folder.read(out));
      await other.json('import', 'visits', out);
      await other.json('export', 'visits', '--out', 'all.ndjson');
      expect(other.read('all.ndjson')).toBe(folder.read('all.ndjson'));
    }
  });
});

describe('devices', () => {
  const resolveTwo = async (folder: CommandFolder): Promise<void> => {
    const two = ['--device', 'data/other'];
    await folder.json('device', 'sync', ...two);
    await folder.json('device', 'update', 'visits', 'a', 'status=done');
    await folder.json('device', 'sync');
    await folder.json('device', 'update', 'visits', 'a', 'status=cancelled', ...two);
    const parked = await folder.call(['device', 'sync', '--json', ...two]);
    expect(JSON.parse(parked.out)).toMatchObject({ parked: 1 });
  };
  const statusOf = async (folder: CommandFolder, ...more: string[]) =>
    (await folder.json('device', 'get', 'visits', 'a', ...more))['status'];

  test('[CLI-30, CLI-31, CLI-24] edits work offline and are in the log', async () => {
    const folder = await begin();
    const made = await folder.json(
      'device',
      'create',
      'visits',
      'subject=Pump',
      'parts=2',
      '--id',
      'a',
    );
    expect(made).toMatchObject({ id: 'a' });
    await folder.json('device', 'increment', 'visits', 'a', 'parts', '3');
    await folder.json('device', 'text', 'visits', 'a', 'report', 'All tight.');
    await folder.json('device', 'update', 'visits', 'a', '--data', '{"due":"2026-03-01"}');
    expect(await folder.json('device', 'get', 'visits', 'a')).toMatchObject({
      subject: 'Pump',
      parts: 5,
      report: 'All tight.',
      due: '2026-03-01',
    });
    expect(await folder.json<unknown[]>('device', 'pending')).toHaveLength(4);
    // Nobody serves, and looking does not begin a server.
    expect((await folder.call(['device', 'sync'])).code).toBe(1);
    expect((await folder.call(['errors', 'list'])).code).toBe(1);
    expect(folder.has('data/server')).toBe(false);

    writeFileSync(folder.file('none.ndjson'), '');
    await folder.json('import', 'visits', 'none.ndjson');
    expect(await folder.json('device', 'sync')).toMatchObject({ result: 'synced' });
    expect(await folder.json<unknown[]>('device', 'pending')).toEqual([]);
    const { out } = await folder.call(['device', 'oplog', '--json']);
    const log = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly index: number; readonly head: string });
    expect(log.map(({ index }) => index)).toEqual([1, 2, 3, 4]);
    expect(new Set(log.map(({ head }) => head)).size).toBe(4);
    const explained = await folder.json<{ readonly field: string }[]>(
      'explain',
      'visits',
      'a',
      'parts',
    );
    // The decision on the record as a whole has no field.
    expect(new Set(explained.map(({ field }) => field))).toEqual(new Set(['', 'parts']));
    expect(await folder.json<unknown[]>('logs')).toHaveLength(1);
    await folder.json('device', 'delete', 'visits', 'a');
    expect((await folder.call(['device', 'get', 'visits', 'a'])).code).toBe(1);
  });

  test('[CLI-32] a conflict is resolved on the device', async () => {
    const folder = await begin();
    writeFileSync(folder.file('v.ndjson'), '{"id":"a","subject":"A","status":"planned"}\n');
    await folder.json('import', 'visits', 'v.ndjson');
    await folder.json('device', 'sync');
    await resolveTwo(folder);
    const two = ['--device', 'data/other'];
    const [error] = await folder.json<{ readonly id: string }[]>('device', 'errors', ...two);
    const id = error?.id ?? '';
    const no = await folder.call(['device', 'resolve', id, '--action', 'merge', ...two]);
    expect(no.code).toBe(2);
    expect(no.err).toContain('status');
    await folder.json(
      'device',
      'resolve',
      id,
      '--action',
      'merge',
      '--choose',
      'status=mine',
      ...two,
    );
    await folder.json('device', 'sync', ...two);
    await folder.json('device', 'sync');
    expect([await statusOf(folder), await statusOf(folder, ...two)]).toEqual([
      'cancelled',
      'cancelled',
    ]);
  });

  test('[CLI-32] a conflict is resolved centrally, with a new value', async () => {
    const folder = await begin();
    writeFileSync(folder.file('v.ndjson'), '{"id":"a","subject":"A","status":"planned"}\n');
    await folder.json('import', 'visits', 'v.ndjson');
    await folder.json('device', 'sync');
    await resolveTwo(folder);
    const [error] = await folder.json<{ readonly id: string; readonly kind: string }[]>(
      'errors',
      'list',
    );
    expect(error?.kind).toBe('conflict');
    const id = error?.id ?? '';
    expect(await folder.json('errors', 'show', id)).toMatchObject({ id, state: 'open' });
    const done = await folder.json(
      'errors',
      'resolve',
      id,
      '--action',
      'merge',
      '--value',
      'status=planned',
    );
    expect(done).toMatchObject({ verdict: 'done' });
    expect(await folder.json('errors', 'list')).toEqual([]);
    const again = await folder.call(['errors', 'resolve', id, '--action', 'take-server', '--json']);
    expect(again.code).toBe(1);
    await folder.json('device', 'sync', '--device', 'data/other');
    await folder.json('device', 'sync');
    expect([await statusOf(folder), await statusOf(folder, '--device', 'data/other')]).toEqual([
      'planned',
      'planned',
    ]);
  });
});

describe('backups of a folder', () => {
  test('[CLI-41, CLI-42] an older copy is restored; devices offer again what it lacks', async () => {
    const folder = await begin();
    writeFileSync(folder.file('v.ndjson'), '{"id":"a","subject":"A"}\n{"id":"b","subject":"B"}\n');
    await folder.json('import', 'visits', 'v.ndjson');
    await folder.json('device', 'sync');
    const taken = await folder.json<{ readonly backup: string }>('backup', 'copies');
    expect(path.dirname(taken.backup)).toBe(folder.file('copies'));
    await folder.json('device', 'create', 'visits', 'subject=Late', '--id', 'late');
    await folder.json('device', 'increment', 'visits', 'a', 'parts', '5');
    await folder.json('device', 'sync');

    expect((await folder.call(['restore', 'copies'])).code).toBe(1);
    expect((await folder.call(['restore', 'copies', '--tenant', 'other', '--replace'])).code).toBe(
      1,
    );
    writeFileSync(folder.file('broken'), '');
    expect((await folder.call(['restore', 'broken', '--replace'])).code).toBe(1);
    expect(folder.has('data/server.replaced-1')).toBe(false);

    const restored = await folder.json('restore', 'copies', '--replace');
    expect(restored).toMatchObject({ newIncarnation: true });
    expect(folder.has('data/server.replaced-1')).toBe(true);
    expect(await folder.json('device', 'sync')).toMatchObject({ result: 'synced' });
    const { out } = await folder.call([
      'export',
      'visits',
      '--fields',
      'subject,parts',
      '--format',
      'json',
    ]);
    expect(JSON.parse(out)).toEqual([
      { id: 'a', subject: 'A', parts: 5 },
      { id: 'b', subject: 'B', parts: null },
      { id: 'late', subject: 'Late', parts: null },
    ]);
  });
});
