import { pagesUnderWayMax } from '@tidemark/client';
import { TidemarkError } from '@tidemark/model';
import type { Link, Transport } from '@tidemark/ports';
import {
  decodeMessage,
  encodeMessage,
  type MessageName,
  type Messages,
  type PullRequest,
} from '@tidemark/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { through } from './through.js';
import { World, type DeviceHandle } from './world.js';

const read = <N extends MessageName>(name: N, bytes: Uint8Array) => {
  const decoded = decodeMessage(name, bytes);
  if (decoded._tag === 'Left') throw decoded.left;
  return decoded.right;
};
const without = <N extends MessageName>(name: N, bytes: Uint8Array, key: string): Uint8Array => {
  const { message, tail } = read(name, bytes);
  const left = Object.entries(message).filter(([one]) => one !== key);
  return encodeMessage<MessageName>(name, Object.fromEntries(left) as unknown as Messages[N], [
    tail,
  ]);
};

/** Link that notes the pulls that pass it; `hand` may answer one in another way. */
const watchedLink = (inner: Transport) => {
  const seen = {
    asked: [] as PullRequest[],
    underWay: 0,
    mostUnderWay: 0,
    refused: 0,
    told: (_request: PullRequest): void => undefined,
    hand: (_number: number, _request: PullRequest, ask: () => Promise<Uint8Array>) => ask(),
    transport: inner,
  };
  const request = async (link: Link, ...call: Parameters<Link['request']>): Promise<Uint8Array> => {
    const [endpoint, body] = call;
    if (endpoint !== 'pull') return link.request(...call);
    const { message } = read('PullRequest', body);
    const number = seen.asked.push(message);
    seen.told(message);
    seen.underWay += 1;
    seen.mostUnderWay = Math.max(seen.mostUnderWay, seen.underWay);
    try {
      return await seen.hand(number, message, () => link.request(...call));
    } catch (cause) {
      if (cause instanceof TidemarkError && cause.code === 'no-page-ahead') seen.refused += 1;
      throw cause;
    } finally {
      seen.underWay -= 1;
    }
  };
  seen.transport = through(inner, { request });
  return seen;
};

const records = 3_000;
let world: World;
beforeEach(async () => {
  world = await World.open();
  // About 3 MB: half a dozen pages.
  for (let i = 0; i < records; i += 500)
    await world.write(
      ...Array.from({ length: 500 }, (_, k) => ({
        kind: 'upsert' as const,
        table: 1,
        id: `r-${String(i + k).padStart(5, '0')}`,
        fields: { 1: `record ${i + k} ${'x'.repeat(1_000)}` },
      })),
    );
});
afterEach(() => world.close());

const expectEqual = async (device: DeviceHandle): Promise<void> => {
  expect(new Set(await world.fingerprints(device)).size).toBe(1);
  expect(await device.replica.count('visits')).toBe(records);
};

test('[SYN-27] several pages are under way while one is staged, at most eight, and each is used once', async () => {
  const link = watchedLink(world.transport);
  const device = await world.device({ transport: link.transport });
  let ahead = 0;
  link.told = ({ cursor, skip }) => {
    const { staging } = device.local.meta();
    if (cursor !== null && (staging?.cursor !== cursor || skip !== 0)) ahead += 1;
  };
  const log = await device.replica.sync();
  expect(log).toMatchObject({ result: 'synced' });
  await expectEqual(device);
  // The first page shows that the server knows of pages ahead, and how fast they come.
  expect(link.asked[0]).toMatchObject({ cursor: null, skip: 0 });
  expect(ahead).toBe(link.asked.length - 1);
  expect(link.mostUnderWay).toBeGreaterThan(2);
  expect(link.mostUnderWay).toBeLessThanOrEqual(pagesUnderWayMax);
  // Behind the closing page there are none: those are refused, and nothing is asked for twice.
  expect(link.asked.length - log.pages).toBe(link.refused);
  expect(link.refused).toBeLessThan(pagesUnderWayMax);
  // Nothing to do: one page, and none ahead of it.
  link.asked.length = 0;
  await device.replica.sync();
  expect(link.asked).toHaveLength(1);
});

test('[SYN-27, SYN-20] a page ahead that is lost is asked for again by its cursor, and none that was staged', async () => {
  const link = watchedLink(world.transport);
  const device = await world.device({ transport: link.transport });
  const lost = 4;
  link.hand = async (number, _request, ask) => {
    const answer = await ask();
    if (number === lost) throw new TidemarkError('unreachable', 'the link was cut');
    return answer;
  };
  const staged = new Set<string>();
  let isLost = false;
  link.told = ({ cursor, skip }) => {
    if (link.asked.length > lost && !isLost && skip === 0) {
      isLost = true;
      expect(cursor).toBe(device.local.meta().staging?.cursor);
    }
    if (skip === 0 && cursor !== null) {
      expect(staged.has(cursor)).toBe(false);
      staged.add(cursor);
    }
  };
  expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
  expect(isLost).toBe(true);
  await expectEqual(device);
});

test('[SYN-27] a server that does not know a page ahead is asked page by page for a while', async () => {
  const link = watchedLink(world.transport);
  const device = await world.device({ transport: link.transport });
  // As another server of the tenant, which did not make the pages before it.
  link.hand = (_number, { skip }, ask) =>
    skip === 0
      ? ask()
      : Promise.reject(new TidemarkError('no-page-ahead', 'this server knows of none'));
  const log = await device.replica.sync();
  expect(log).toMatchObject({ result: 'synced' });
  await expectEqual(device);
  const first = link.asked.findIndex(({ skip }) => skip !== 0);
  const behind = link.asked.slice(first).filter(({ skip }) => skip !== 0);
  expect(behind.length).toBeLessThanOrEqual(pagesUnderWayMax);
  // The miss cost one page more at most, which was on its way by its cursor.
  expect(link.asked.length - behind.length - log.pages).toBeLessThanOrEqual(1);
});

test('[SYN-27] a server that is too busy for pages ahead keeps its link, and gives them by their cursors', async () => {
  const link = watchedLink(world.transport);
  let opened = 0;
  const transport: Transport = {
    open: (...call) => {
      opened += 1;
      return link.transport.open(...call);
    },
  };
  const device = await world.device({ transport });
  let refused = 0;
  link.hand = (_number, { skip }, ask) => {
    if (skip === 0) return ask();
    refused += 1;
    return Promise.reject(new TidemarkError('timeout', 'the server is busy'));
  };
  const log = await device.replica.sync();
  expect(log).toMatchObject({ result: 'synced', error: null });
  expect(refused).toBeGreaterThan(0);
  expect(opened).toBe(1);
  await expectEqual(device);
});

test('[SYN-27] an answer that goes on from another page than the one staged is not used', async () => {
  const link = watchedLink(world.transport);
  // Pages as they are: there are more of them.
  const device = await world.device({ transport: link.transport, compress: 'never' });
  let kept: Uint8Array | undefined;
  let swapped = 0;
  link.hand = async (_number, { skip }, ask) => {
    const answer = await ask();
    if (skip === 1) kept ??= answer;
    if (skip !== 3 || kept === undefined) return answer;
    // A right answer, of another place.
    swapped += 1;
    return kept;
  };
  expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
  await expectEqual(device);
  expect(swapped).toBeGreaterThan(0);
});

test('[SYN-27] an older server, which does not know of pages ahead, is asked for one at a time', async () => {
  const link = watchedLink(
    through(world.transport, {
      request: async (inner, endpoint, body, signal) =>
        endpoint === 'pull'
          ? without('PullAnswer', await inner.request(endpoint, body, signal), 'from')
          : inner.request(endpoint, body, signal),
    }),
  );
  const device = await world.device({ transport: link.transport });
  const log = await device.replica.sync();
  expect(log).toMatchObject({ result: 'synced' });
  await expectEqual(device);
  expect(link.mostUnderWay).toBe(1);
  expect(link.asked).toHaveLength(log.pages);
  expect(new Set(link.asked.map(({ cursor }) => cursor)).size).toBe(log.pages);
});
