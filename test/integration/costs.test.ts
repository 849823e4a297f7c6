import { expect, test } from 'vitest';
import { expectEqualCosts, readsOfScanBehindUpload } from '../processes/run-costs.js';

// The deep suite takes all 135,233 places.
test('[SYN-98] what a run costs follows the changes, not the size of the data', async () => {
  await expectEqualCosts(25_000);
}, 300_000);

test('a page of a scan passes over no markers behind it', async () => {
  const rows = 6_000;
  const read = await readsOfScanBehindUpload(rows);
  console.log(`${rows} records, all edited and uploaded: a scan reads ${read} entries`);
  // Image, its newer layer, and a marker of a view for each record, with what pages fetch ahead.
  expect(read).toBeLessThan(5 * rows);
}, 120_000);
