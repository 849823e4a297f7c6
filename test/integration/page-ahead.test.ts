import type { Link, Transport } from '@tidemark/ports';
import { TidemarkError } from '@tidemark/model';
import { decodeMessage } from '@tidemark/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { World } from './world.js';

/** Link that counts the pulls under way, and loses one of them when it is told to. */
const watchedLink = (inner: Transport) => {
  const seen = {
    cursors: [] as (string | null)[],
    underWay: 0,
    mostUnderWay: 0,
    /** Number of the pull that is lost after the server's work; 0 none. */
    lost: 0,
    asked: (_cursor: string | null): void => undefined,
    transport: {
      open: async (caller, signal) => {
        const link: Link = await inner.open(caller, signal);
        return {
          ...link,
          request: async (endpoint, body, abort) => {
            if (endpoint !== 'pull') return link.request(endpoint, body, abort);
            const decoded = decodeMessage('PullRequest', body);
            if (decoded._tag === 'Left') throw new Error('a pull is malformed');
            const { cursor } = decoded.right.message;
            seen.cursors.push(cursor);
            seen.asked(cursor);
            seen.underWay += 1;
            seen.mostUnderWay = Math.max(seen.mostUnderWay, seen.underWay);
            const number = seen.cursors.length;
            try {
              const answer = await link.request(endpoint, body, abort);
              if (number === seen.lost) throw new TidemarkError('unreachable', 'the link was cut');
              return answer;
            } finally {
              seen.underWay -= 1;
            }
          },
        };
      },
    } satisfies Transport as Transport,
  };
  return seen;
};

let world: World;
beforeEach(async () => {
  world = await World.open();
  // About 2 MB: several pages.
  for (let i = 0; i < 2_000; i += 100)
    await world.write(
      ...Array.from({ length: 100 }, (_, k) => ({
        kind: 'upsert' as const,
        table: 1,
        id: `r-${String(i + k).padStart(5, '0')}`,
        fields: { 1: `record ${i + k} ${'x'.repeat(1_000)}` },
      })),
    );
});
afterEach(() => world.close());

test('[SYN-27] the next page is asked for before the one before is staged, and never two', async () => {
  const link = watchedLink(world.transport);
  const device = await world.device({ transport: link.transport });
  const ahead: boolean[] = [];
  link.asked = (cursor) => {
    const { staging } = device.local.meta();
    ahead.push(cursor !== null && staging?.cursor !== cursor);
  };
  const log = await device.replica.sync();
  expect(log).toMatchObject({ result: 'synced' });
  expect(link.cursors.length).toBe(log.pages);
  expect(log.pages).toBeGreaterThan(3);
  expect(link.mostUnderWay).toBe(1);
  expect(ahead).toEqual([false, ...Array.from({ length: log.pages - 1 }, () => true)]);
  expect(new Set(link.cursors).size).toBe(link.cursors.length);
});

test('[SYN-27, SYN-20] a page ahead that is lost is asked for again, and no other one', async () => {
  const link = watchedLink(world.transport);
  const device = await world.device({ transport: link.transport });
  link.lost = 3;
  const log = await device.replica.sync();
  expect(log).toMatchObject({ result: 'synced' });
  // The lost one was asked for twice, by the same cursor.
  expect(link.cursors.length).toBe(log.pages + 1);
  expect(link.cursors[3]).toBe(link.cursors[2]);
  const other = await world.device();
  await other.replica.sync();
  const fingerprint = await device.replica.fingerprint('visits');
  expect(fingerprint).toBe(await other.replica.fingerprint('visits'));
  expect(await device.replica.query('visits')).toHaveLength(2_000);
});
