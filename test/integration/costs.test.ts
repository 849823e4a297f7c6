import { test } from 'vitest';
import { expectEqualCosts } from '../processes/run-costs.js';

// The deep suite takes all 135,233 places.
test('[SYN-98] what a run costs follows the changes, not the size of the data', async () => {
  await expectEqualCosts(25_000);
}, 300_000);
