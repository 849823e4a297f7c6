import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { watchPeak } from '../processes/child-memory.js';
import { CommandFolder } from '../processes/command-line.js';
import { buildProgram } from '../processes/program.js';

const rowsWanted = 1_000_000;
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 10);
/** Rows per minute of budget on a slow machine: a short budget imports fewer, and says so. */
const rowsPerMinute = 250_000;
const peakMbMax = 400;

const folders: CommandFolder[] = [];
let entry = '';
beforeAll(async () => {
  entry = await buildProgram('tidemark');
});
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
});

const idOf = (row: number): string => `v${String(row).padStart(7, '0')}`;
/** One row of a hundred is bad, in one of four ways. */
const isBad = (row: number): boolean => row % 100 === 50;
const badLine = (row: number): string =>
  [
    `${idOf(row)},,planned,1,2026-01-02,`,
    `${idOf(row)},Visit,lost,1,2026-01-02,`,
    `${idOf(row)},Visit`,
    `${idOf(row)},"Vi"sit,planned,1,2026-01-02,`,
  ][Math.floor(row / 100) % 4] ?? '';
const fieldsOf = (row: number) => ({
  subject: `Visit "${row}", of ${row % 977} places`,
  status: row % 2 === 0 ? 'done' : 'planned',
  parts: row % 7,
});

const writeCsv = async (file: string, rows: number): Promise<void> => {
  const out = createWriteStream(file);
  out.write('id,subject,status,parts,due,report\n');
  for (let row = 1; row <= rows; row += 1) {
    const { subject, status, parts } = fieldsOf(row);
    const line = isBad(row)
      ? badLine(row)
      : `${idOf(row)},"${subject.replaceAll('"', '""')}",${status},${parts},2026-01-02,`;
    if (!out.write(`${line}\n`)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'finish');
};

const rowsDone = (folder: CommandFolder, state: string): number => {
  try {
    return (JSON.parse(folder.read(state)) as { readonly rows: number }).rows;
  } catch {
    return 0;
  }
};

test('[CLI-17] a million rows with 1% bad ones are imported in bounded memory, cut twice, counted once', async () => {
  const rows = Math.min(rowsWanted, Math.max(20_000, Math.floor(minutes * rowsPerMinute)));
  const bad = Array.from({ length: rows }, (_, at) => at + 1).filter(isBad);
  const folder = new CommandFolder(entry);
  folders.push(folder);
  await folder.json('init', '--tenant', 'acme');
  await writeCsv(folder.file('v.csv'), rows);

  const refused = await folder.run(['import', 'visits', 'v.csv', '--bad-rows', 'refuse', '--json']);
  expect(refused.code).toBe(1);
  expect(JSON.parse(refused.out)).toMatchObject({ imported: 0, rejected: bad.length });

  const args = ['import', 'visits', 'v.csv', '--json'];
  const peaks: number[] = [];
  const started = performance.now();
  for (const share of [0.3, 0.65]) {
    const running = folder.start(args);
    const peak = watchPeak(running.child);
    while (rowsDone(folder, 'v.csv.import-state.json') < rows * share) {
      if (running.child.exitCode !== null) throw new Error((await running.ended).err);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    running.child.kill('SIGKILL');
    await running.ended;
    peaks.push(peak());
  }
  const last = folder.start(args);
  const peak = watchPeak(last.child);
  const { code, out } = await last.ended;
  peaks.push(peak());
  const seconds = (performance.now() - started) / 1_000;
  expect(code).toBe(3);
  const result = JSON.parse(out) as { readonly resumedAfter: number };
  expect(result).toMatchObject({
    rows,
    imported: rows - bad.length,
    rejected: bad.length,
    complete: true,
  });
  expect(result.resumedAfter).toBeGreaterThanOrEqual(rows * 0.65);
  console.log(`DEEP rows-imported-by-command ${rows}/${rowsWanted}`);
  console.log(
    `${rows} rows in ${seconds.toFixed(1)} s over three processes, ${Math.round(rows / seconds)} rows/s, ` +
      `peaks ${peaks.map((one) => one.toFixed(0)).join(', ')} MB`,
  );
  if (process.platform === 'linux') for (const one of peaks) expect(one).toBeGreaterThan(0);
  for (const one of peaks) expect(one).toBeLessThan(peakMbMax);

  let at = 0;
  for await (const line of createInterface({
    input: createReadStream(folder.file('v.csv.rejects.ndjson')),
  })) {
    expect((JSON.parse(line) as { readonly row: number }).row).toBe(bad[at]);
    at += 1;
  }
  expect(at).toBe(bad.length);
  // Every good row is there once and as it was written, and nothing else is.
  const exported = await folder.run(['export', 'visits', '--out', 'all.ndjson', '--json']);
  expect(JSON.parse(exported.out)).toMatchObject({ records: rows - bad.length });
  let row = 0;
  for await (const line of createInterface({
    input: createReadStream(folder.file('all.ndjson')),
  })) {
    row += 1;
    if (isBad(row)) row += 1;
    const found = JSON.parse(line) as Readonly<Record<string, unknown>>;
    if (found['id'] !== idOf(row) || found['subject'] !== fieldsOf(row).subject)
      expect(found).toMatchObject({ id: idOf(row), ...fieldsOf(row) });
  }
  expect(row).toBe(isBad(rows) ? rows - 1 : rows);
});
