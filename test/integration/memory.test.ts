import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { measureFirstSync, measureImport } from '../processes/memory-measures.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidemark-memory-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

// The deep suite takes all 135,233 places, and a million rows.
test('[SYN-97] a first sync keeps the device under 250 MB', async () => {
  const rows = 50_000;
  const { saying, fingerprint } = await measureFirstSync(folder, rows);
  const { log, ms, peakMb, peakMbBefore } = saying;
  console.log(
    `first sync: ${rows} records in ${(ms / 1000).toFixed(1)} s, ${log.pages} pages, ` +
      `${(log.downloadedBytes / 1e6).toFixed(1)} MB, peak ${peakMb.toFixed(0)} MB ` +
      `(${peakMbBefore.toFixed(0)} MB before)`,
  );
  expect(log).toMatchObject({ result: 'synced', error: null });
  expect(log.tables).toMatchObject([{ table: 'places', mode: 'full', upserts: rows }]);
  expect(saying.fingerprint).toBe(fingerprint);
  expect(saying.synced).toBe(true);
  expect(peakMb).toBeLessThan(250);
}, 300_000);

test('[SRV-91] memory of a server does not grow with what it imports', async () => {
  const rows = 60_000;
  const { imported, after } = await measureImport(folder, rows);
  console.log(
    `import: ${rows} rows in ${(imported.ms / 1000).toFixed(1)} s, peak ${imported.peakMb.toFixed(0)} MB, ` +
      `after the first half ${after(rows / 2).toFixed(0)} MB`,
  );
  expect(imported.last).toBeDefined();
  // A million is written in the deep suite; here the second half must add little.
  expect(imported.peakMb).toBeLessThan(400);
  expect(imported.peakMb - after(rows / 2)).toBeLessThan(120);
}, 300_000);
