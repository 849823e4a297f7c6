import { expect, test } from 'vitest';
import { writeOperationBytesMax } from '@tidemark/server';
import { recordBytesMax } from './row-check.js';

test('[CLI-10] every record that the check lets through fits a write of the server', () => {
  expect(recordBytesMax).toBeLessThanOrEqual(writeOperationBytesMax - 2 * 1024);
});
