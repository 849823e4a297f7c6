import { pageBytesMax, pageBytesMin, pagesBeforeLarger } from '@tidemark/client';
import { TidemarkError } from '@tidemark/model';
import type { Transport } from '@tidemark/ports';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { World } from './world.js';

/** Link on which an answer that is too long does not come in time. */
const slowLink = (inner: Transport) => {
  const slow = {
    carries: Number.POSITIVE_INFINITY,
    /** Longest answer that came. */
    longest: 0,
    late: 0,
    transport: {
      open: async (caller, signal) => {
        const link = await inner.open(caller, signal);
        return {
          publish: link.publish,
          request: async (endpoint, body, abort) => {
            const answer = await link.request(endpoint, body, abort);
            if (answer.length > slow.carries) {
              slow.late += 1;
              throw new TidemarkError('timeout', 'the answer did not come in time');
            }
            slow.longest = Math.max(slow.longest, answer.length);
            return answer;
          },
          waitForTick: link.waitForTick,
          onLost: link.onLost,
          close: link.close,
        };
      },
    } satisfies Transport as Transport,
  };
  return slow;
};

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

const fill = async (name: string, count: number): Promise<void> => {
  for (let i = 0; i < count; i += 100)
    await world.write(
      ...Array.from({ length: 100 }, (_, k) => ({
        kind: 'upsert' as const,
        table: 1,
        id: `${name}-${String(i + k).padStart(5, '0')}`,
        fields: { 1: `${name} ${i + k} ${'x'.repeat(1_000)}` },
      })),
    );
};

test('[SYN-26] a page that does not come in time is asked for again, smaller; later pages grow again', async () => {
  const slow = slowLink(world.transport);
  await fill('first', 200);
  const device = await world.device({ transport: slow.transport, compress: 'never' });
  slow.carries = 2 * pageBytesMin;
  const log = await device.replica.sync();
  expect(log, JSON.stringify(device.replica.status.error)).toMatchObject({ result: 'synced' });
  // From 512 KB to 32 KB.
  expect(slow.late).toBe(Math.log2(pageBytesMax / pageBytesMin) - 1);
  expect(slow.longest).toBeLessThanOrEqual(2 * pageBytesMin);
  // The next run remembers: it does not begin with what the link cannot carry.
  slow.late = 0;
  await fill('second', 100);
  expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
  expect(slow.late).toBe(0);
  // The link is better now. What comes is larger again, step by step.
  slow.carries = Number.POSITIVE_INFINITY;
  await fill('third', 1_500);
  const grown = await device.replica.sync();
  expect(grown).toMatchObject({ result: 'synced' });
  expect(slow.longest).toBeGreaterThan(pageBytesMax / 8);
  expect(grown.pages).toBeGreaterThan(pagesBeforeLarger);
  expect(new Set(await world.fingerprints(device)).size).toBe(1);
});

test('[SYN-26, PUL-70] prepared blocks come over a link that carries one of them', async () => {
  const slow = slowLink(world.transport);
  await fill('blocks', 400);
  slow.carries = 2 * pageBytesMin;
  for (let i = 0; i < 2; i += 1) {
    const device = await world.device({ transport: slow.transport, compress: 'never' });
    expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
    expect(slow.longest).toBeLessThanOrEqual(2 * pageBytesMin);
    expect(new Set(await world.fingerprints(device)).size).toBe(1);
  }
});

test('[SYN-26] a link that carries nothing fails the run at once smaller, never below the smallest page', async () => {
  const slow = slowLink(world.transport);
  await fill('all', 100);
  const device = await world.device({ transport: slow.transport, compress: 'never' });
  slow.carries = pageBytesMin / 2;
  expect(await device.replica.sync()).toMatchObject({ result: 'failed', error: 'timeout' });
  expect(await device.replica.sync()).toMatchObject({ result: 'failed', error: 'timeout' });
  slow.carries = pageBytesMin + 1_024;
  slow.late = 0;
  expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
  expect(slow.late).toBe(0);
  expect(slow.longest).toBeGreaterThan(pageBytesMin / 2);
});
