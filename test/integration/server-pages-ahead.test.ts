import { nodeCompression } from '@tidemark/crypto-node';
import { aheadCallsMax } from '@tidemark/merger';
import { isLeft } from '@tidemark/model';
import type { Link } from '@tidemark/ports';
import {
  cursorName,
  decodeMessage,
  decodePages,
  encodeMessage,
  messageBytesMax,
  pagesAheadMax,
  type PullAnswer,
  type PullRequest,
  type TablePage,
} from '@tidemark/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { memory, openFixture, place, type Fixture } from './server-fixture.js';
import { sha256 } from './pulling-device.js';

const count = 200;
const maxBytes = 8_192;

const request = (cursor: string | null, more: Partial<PullRequest> = {}): PullRequest => ({
  ...{ cursor, tables: null, scope: { tables: 'all' }, seen: { incarnation: 0, n: 0 }, maxBytes },
  ...more,
});

interface Got {
  readonly message: PullAnswer;
  readonly tail: Uint8Array;
  readonly ids: readonly string[];
}

const idsOf = (pages: readonly TablePage[]): string[] =>
  pages.flatMap(({ entries }) => entries.map(({ id }) => id));

const ask = async (link: Link, asked: PullRequest): Promise<Got> => {
  const decoded = decodeMessage(
    'PullAnswer',
    await link.request('pull', encodeMessage('PullRequest', asked)),
  );
  if (isLeft(decoded)) throw decoded.left;
  const { message, tail } = decoded.right;
  const { packed } = message;
  const raw =
    packed === undefined ? tail : await nodeCompression.unpack(packed.codec, tail, packed.bytes);
  if (raw === undefined) throw new Error('the tail does not unpack');
  const pages = decodePages(raw, sha256);
  if (isLeft(pages)) throw new Error(pages.left);
  return { message, tail, ids: idsOf(pages.right) };
};

describe('pages that are asked for ahead', () => {
  let f: Fixture;
  let link: Link;
  const databases = { store: memory(), input: memory() };
  beforeEach(async () => {
    databases.store = memory();
    databases.input = memory();
    f = await openFixture({ databases });
    await f.server.write(
      Array.from({ length: count }, (_, i) => place(i)),
      { user: 'root' },
    );
    link = await f.link('r1');
  });
  afterEach(() => f.server.close());

  test('[PUL-74] pages asked for at once are those that a replica gets one after another', async () => {
    const plain = await f.link('r2');
    const one: Got[] = [];
    for (let cursor: string | null = null; one.at(-1)?.message.closing !== true;) {
      one.push(await ask(plain, request(cursor)));
      cursor = one.at(-1)?.message.cursor ?? null;
    }
    expect(one.length).toBeGreaterThan(3);
    expect(one.length).toBeLessThan(pagesAheadMax);
    const skips = Array.from({ length: one.length }, (_, skip) => skip);
    const ahead = await Promise.all(skips.map((skip) => ask(link, request(null, { skip }))));
    expect(ahead.map(({ ids }) => ids)).toEqual(one.map(({ ids }) => ids));
    let before: string | null = null;
    for (const { message } of ahead) {
      expect(message.from).toBe(cursorName(before, sha256));
      before = message.cursor;
    }
    expect(ahead.at(-1)?.message.closing).toBe(true);
    // From any page of them further ones can be named, while they are remembered.
    const [first, second, third] = ahead as [Got, Got, Got];
    const again = await ask(link, request(first.message.cursor, { skip: 1 }));
    expect(again.ids).toEqual(third.ids);
    expect(again.message.from).toBe(cursorName(second.message.cursor, sha256));
  });

  test('[PUL-74] what begins at no known page is refused: behind the end, of another replica, of another life', async () => {
    const first = await ask(link, request(null, { skip: 0 }));
    const { cursor } = first.message;
    const refused = { code: 'no-page-ahead' };
    const many = Array.from({ length: pagesAheadMax }, (_, i) => i + 1);
    const results = await Promise.allSettled([
      ask(link, request(cursor, { skip: 0 })),
      ...many.map((skip) => ask(link, request(cursor, { skip, maxBytes: 64_000 }))),
    ]);
    const [second, ...rest] = results;
    expect(second?.status).toBe('fulfilled');
    const closing = rest.findIndex(
      (one) => one.status === 'fulfilled' && one.value.message.closing,
    );
    expect(closing).toBeGreaterThanOrEqual(0);
    for (const one of rest.slice(closing + 1)) expect(one).toMatchObject({ reason: refused });

    const other = await f.link('r2');
    await expect(ask(other, request(null, { skip: 1 }))).rejects.toMatchObject(refused);
    await expect(ask(other, request(cursor, { skip: 1 }))).rejects.toMatchObject(refused);
    await expect(ask(other, request(cursor))).rejects.toMatchObject({ code: 'invalid-cursor' });
    await expect(ask(link, request(null, { skip: pagesAheadMax + 1 }))).rejects.toMatchObject({
      code: 'malformed-message',
    });

    await f.server.close();
    f = await openFixture({ databases });
    const after = await f.link('r1');
    await expect(ask(after, request(cursor, { skip: 1 }))).rejects.toMatchObject(refused);
    // By its cursor the page is there.
    expect((await ask(after, request(cursor, { skip: 0 }))).ids.length).toBeGreaterThan(0);
  });

  test('[PUL-74] a page in front that fails refuses those behind it, and nobody waits', async () => {
    const forged = request('1.AAAA.AAAA', { skip: 0 });
    const results = await Promise.allSettled([
      ask(link, forged),
      ask(link, { ...forged, skip: 1 }),
      ask(link, request(null, { skip: 0 })),
      ask(link, request(null, { skip: 1 })),
    ]);
    expect(results).toMatchObject([
      { reason: { code: 'invalid-cursor' } },
      { reason: { code: 'no-page-ahead' } },
      { status: 'fulfilled' },
      { status: 'fulfilled' },
    ]);
  });

  test('[PUL-74] pages ahead leave room for other calls: those beyond 64 are refused, and no page by its cursor is', async () => {
    const replicas = Array.from({ length: 12 }, (_, i) => `many-${i}`);
    const skips = Array.from({ length: 8 }, (_, skip) => skip);
    const links = await Promise.all(replicas.map((replica) => f.link(replica)));
    const results = await Promise.allSettled(
      links.flatMap((one) => skips.map((skip) => ask(one, request(null, { skip })))),
    );
    const refused = results.filter(({ status }) => status === 'rejected');
    for (const one of refused) expect(one).toMatchObject({ reason: { code: 'no-page-ahead' } });
    expect(refused.length).toBeGreaterThan(0);
    expect(results.length - replicas.length - refused.length).toBeGreaterThanOrEqual(aheadCallsMax);
    for (let i = 0; i < results.length; i += skips.length)
      expect(results[i]?.status).toBe('fulfilled');
    // They are over: there is room again.
    expect(
      (await Promise.all([0, 1].map((skip) => ask(link, request(null, { skip }))))).length,
    ).toBe(2);
  });

  test('[PUL-75] a tail is packed for who asks, by the first codec that both know, and else as it is', async () => {
    const plain = await ask(link, request(null, { maxBytes: messageBytesMax }));
    expect(plain.message.packed).toBeUndefined();
    for (const [codecs, codec] of [
      [['brotli', 'deflate-raw'], 'brotli'],
      [['of-later', 'deflate-raw', 'brotli'], 'deflate-raw'],
    ] as const) {
      const packed = await ask(link, request(null, { maxBytes: messageBytesMax, codecs }));
      expect(packed.message.packed).toEqual({ codec, bytes: plain.tail.length });
      expect(packed.tail.length).toBeLessThan(plain.tail.length / 2);
      expect(packed.ids).toEqual(plain.ids);
    }
    for (const codecs of [['of-later'], []])
      expect(
        (await ask(link, request(null, { maxBytes: messageBytesMax, codecs }))).message.packed,
      ).toBeUndefined();
    // The closing page of a replica that has everything holds nothing that could get shorter.
    const empty = await ask(link, request(plain.message.cursor, { codecs: ['brotli'] }));
    expect(empty.message).toMatchObject({ closing: true });
    expect(empty.message.packed).toBeUndefined();
  });
});
