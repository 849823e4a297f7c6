import { slowRoundTripMs } from '@tidemark/client';
import type { Link, Transport } from '@tidemark/ports';
import {
  decodeMessage,
  encodeMessage,
  messageBytesMax,
  type MessageName,
  type Messages,
  type PackedTail,
} from '@tidemark/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { through } from './through.js';
import { World } from './world.js';

type PullOrCompare = 'PullAnswer' | 'CompareAnswer';
const answers: Readonly<Record<string, PullOrCompare>> = {
  pull: 'PullAnswer',
  compare: 'CompareAnswer',
};

const read = <N extends MessageName>(name: N, bytes: Uint8Array) => {
  const decoded = decodeMessage(name, bytes);
  if (decoded._tag === 'Left') throw decoded.left;
  return decoded.right;
};

/** Link on which time passes with each call, and which notes how answers were packed. */
const timedLink = (world: World) => {
  const seen = {
    roundTripMs: 0,
    asked: new Set<string>(),
    packed: [] as (PackedTail | undefined)[],
    /** Changes what an answer says of its tail, and the tail. */
    bend: (packed: PackedTail, tail: Uint8Array): [PackedTail, Uint8Array] => [packed, tail],
    transport: world.transport as Transport,
  };
  const request = async (link: Link, ...call: Parameters<Link['request']>): Promise<Uint8Array> => {
    const [endpoint, body] = call;
    if (endpoint === 'pull')
      for (const codec of read('PullRequest', body).message.codecs ?? []) seen.asked.add(codec);
    const answer = await link.request(...call);
    world.clock.now += seen.roundTripMs;
    const name = answers[endpoint];
    if (name === undefined) return answer;
    const { message, tail } = read(name, answer);
    seen.packed.push(message.packed);
    if (message.packed === undefined) return answer;
    const [packed, bent] = seen.bend(message.packed, tail);
    const changed = { ...message, packed } as Messages[PullOrCompare];
    return encodeMessage<MessageName>(name, changed, [bent]);
  };
  seen.transport = through(world.transport, { request });
  return seen;
};

let world: World;
beforeEach(async () => {
  world = await World.open();
  for (let i = 0; i < 1_000; i += 500)
    await world.write(
      ...Array.from({ length: 500 }, (_, k) => ({
        kind: 'upsert' as const,
        table: 1,
        id: `r-${String(i + k).padStart(5, '0')}`,
        fields: { 1: `record ${i + k} ${'tide '.repeat(100)}` },
      })),
    );
});
afterEach(() => world.close());

const isPacked = ({ packed }: ReturnType<typeof timedLink>): readonly boolean[] =>
  packed.map((one) => one !== undefined);

test('[SYN-55] pages travel packed on a slow link only, unless the application says otherwise; bytes are those that travelled', async () => {
  const bytes = new Map<string, number>();
  for (const [compress, roundTripMs] of [
    ['auto', slowRoundTripMs],
    ['always', 0],
    ['never', slowRoundTripMs],
  ] as const) {
    const link = timedLink(world);
    link.roundTripMs = roundTripMs;
    const device = await world.device({ transport: link.transport, compress });
    const log = await device.replica.sync();
    expect(log).toMatchObject({ result: 'synced' });
    expect(new Set(await world.fingerprints(device)).size).toBe(1);
    expect([compress, isPacked(link).includes(true)]).toEqual([compress, compress !== 'never']);
    expect([...link.asked]).toEqual(compress === 'never' ? [] : ['brotli', 'deflate-raw']);
    bytes.set(compress, log.downloadedBytes);
  }
  const raw = bytes.get('never') as number;
  expect(raw).toBeGreaterThan(500_000);
  for (const compress of ['auto', 'always']) expect(bytes.get(compress)).toBeLessThan(raw / 5);
});

test('[SYN-55] a repair by difference travels packed, too', async () => {
  const link = timedLink(world);
  const device = await world.device({
    transport: link.transport,
    compress: 'always',
    scope: { tables: { visits: { filter: "subject = 'none'" } } },
  });
  await device.replica.sync();
  expect(await device.replica.count('visits')).toBe(0);
  link.packed.length = 0;
  // Another scope: the image is repaired, and what it lacks comes by comparison.
  await device.replica.close();
  await world.reopen(device, { transport: link.transport, compress: 'always' });
  expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
  expect(isPacked(link)).toContain(true);
  expect(await device.replica.count('visits')).toBe(1_000);
});

test('[SYN-55, SYN-77] a tail that is not what is announced changes nothing, and a later run goes on', async () => {
  const link = timedLink(world);
  const device = await world.device({ transport: link.transport, compress: 'always' });
  const bends: readonly (typeof link.bend)[] = [
    ({ codec, bytes }, tail) => [{ codec, bytes: bytes - 1 }, tail],
    ({ codec, bytes }, tail) => [{ codec, bytes: bytes + 1 }, tail],
    ({ codec, bytes }, tail) => [{ codec, bytes: messageBytesMax + bytes }, tail],
    ({ bytes }, tail) => [{ codec: 'zip', bytes }, tail],
    ({ bytes }, tail) => [{ codec: 'deflate-raw', bytes }, tail],
    ({ codec, bytes }, tail) => [{ codec, bytes }, tail.slice(0, -1)],
    ({ codec }) => [{ codec, bytes: 0 }, new Uint8Array(0)],
  ];
  const straight = link.bend;
  for (const bend of bends) {
    link.bend = bend;
    const log = await device.replica.sync();
    expect(log).toMatchObject({ result: 'failed', error: 'malformed-message' });
    expect(device.replica.status.error).toMatchObject({ code: 'malformed-message' });
    expect(await device.replica.count('visits')).toBe(0);
  }
  link.bend = straight;
  expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
  expect(new Set(await world.fingerprints(device)).size).toBe(1);
});

test('[SYN-55] of a server that packs nothing they come as they are', async () => {
  const older = await World.open({ compression: undefined } as never);
  try {
    await older.write({ kind: 'upsert', table: 1, id: 'one', fields: { 1: 'x'.repeat(5_000) } });
    const link = timedLink(older);
    const device = await older.device({ transport: link.transport, compress: 'always' });
    expect(await device.replica.sync()).toMatchObject({ result: 'synced' });
    expect(link.asked.size).toBeGreaterThan(0);
    expect(isPacked(link)).not.toContain(true);
    expect(await device.replica.count('visits')).toBe(1);
  } finally {
    await older.close();
  }
});
