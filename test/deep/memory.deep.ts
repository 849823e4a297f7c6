import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { measureFirstSync, measureImport } from '../processes/memory-measures.js';
import { placesCount } from '../processes/places.js';
import { expectEqualCosts } from '../processes/run-costs.js';

const rowsWanted = 1_000_000;
const minutes = Number(process.env['TIDEMARK_MINUTES'] ?? 10);
/** Rows per minute of budget on a slow machine: a short budget imports fewer, and says so. */
const rowsPerMinute = 600_000;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidemark-memory-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('[SRV-91] a server imports a million rows under 400 MB', async () => {
  const rows = Math.min(rowsWanted, Math.max(10_000, Math.floor(minutes * rowsPerMinute)));
  const { imported, after } = await measureImport(folder, rows);
  console.log(`DEEP rows-imported ${imported.rows}/${rowsWanted}`);
  console.log(
    `${rows} rows in ${(imported.ms / 1000).toFixed(1)} s, peak ${imported.peakMb.toFixed(0)} MB, ` +
      `after the first half ${after(rows / 2).toFixed(0)} MB`,
  );
  expect(imported.last).toBeDefined();
  expect(imported.peakMb).toBeLessThan(400);
});

test('[SYN-98] what a run costs follows the changes, not the size of 135,233 records', async () => {
  await expectEqualCosts(placesCount);
});

test('[SYN-97] a first sync of 135,233 records keeps the device under 250 MB', async () => {
  const { saying, fingerprint } = await measureFirstSync(folder, placesCount);
  console.log(`first sync of ${placesCount} records: peak ${saying.peakMb.toFixed(0)} MB`);
  expect(saying.log).toMatchObject({ result: 'synced', error: null });
  expect(saying.log.tables).toMatchObject([{ table: 'places', upserts: placesCount }]);
  expect(saying.fingerprint).toBe(fingerprint);
  expect(saying.peakMb).toBeLessThan(250);
});
