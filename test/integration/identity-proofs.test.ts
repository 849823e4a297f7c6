import { decodeEnvelope, encodeEnvelope } from '@tidemark/model';
import type { Link } from '@tidemark/ports';
import { decodeMessage, encodeMessage, openSignedCall } from '@tidemark/protocol';
import { afterEach, describe, expect, test } from 'vitest';
import { closeAll, names, openDevice, openWorld, tokenFor } from './identity-world.js';
import { through } from './through.js';

afterEach(closeAll);

describe('what is signed, in one process', () => {
  test('[IDN-30] envelopes that are not signed by their replica move nothing, and are told', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    let harm: 'none' | 'unsigned' | 'bent' | 'offset' = 'unsigned';
    const transport = through(world.server.transport, {
      publish: (link, bytes) => {
        const decoded = decodeEnvelope(bytes);
        if (decoded._tag === 'Left') throw new Error('no envelope');
        const envelope = decoded.right;
        switch (harm) {
          case 'none':
            return link.publish(bytes);
          case 'unsigned':
            return link.publish(encodeEnvelope({ ...envelope, signature: '' }));
          case 'bent': {
            const first = envelope.signature.startsWith('A') ? 'B' : 'A';
            const signature = `${first}${envelope.signature.slice(1)}`;
            return link.publish(encodeEnvelope({ ...envelope, signature }));
          }
          case 'offset':
            return link.publish(encodeEnvelope({ ...envelope, offsetMs: envelope.offsetMs + 1 }));
        }
      },
    });
    const { replica } = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
      transport,
    });
    await replica.create('things', { name: 'one' });
    for (const next of ['unsigned', 'bent', 'offset'] as const) {
      harm = next;
      expect((await replica.sync({ mode: 'background' })).result).toBe('pending');
      expect(await names(world)).toEqual([]);
    }
    expect(
      world.events.flatMap((event) => (event.type === 'quarantined' ? [event.reason] : [])),
    ).toEqual(['unsigned', 'signature', 'signature']);
    expect(world.server.status().state.counts.quarantined).toBe(3);
    harm = 'none';
    expect((await replica.sync()).result).toBe('synced');
    expect(await names(world)).toEqual(['one']);
  });

  test('[IDN-31] what a revoked replica signed is refused from there on, by the fold and at each call', async () => {
    const world = await openWorld({ identities: 'required' });
    const kept: Uint8Array[] = [];
    const links: Link[] = [];
    let isKeeping = false;
    const transport = through(world.server.transport, {
      publish: (link, bytes) => {
        links.push(link);
        if (!isKeeping) return link.publish(bytes);
        kept.push(bytes.slice());
        return Promise.resolve();
      },
    });
    const tokens = [await tokenFor(world, 'tablet-1'), await tokenFor(world, 'tablet-2')];
    const lost = await openDevice(world, 'lost', {
      token: () => Promise.resolve(tokens[0] ?? ''),
      transport,
    });
    const other = await openDevice(world, 'other', {
      token: () => Promise.resolve(tokens[1] ?? ''),
    });
    await lost.replica.create('things', { name: 'before' });
    expect((await lost.replica.sync()).result).toBe('synced');
    isKeeping = true;
    lost.replica.connect();
    await lost.replica.create('things', { name: 'signed before, arrives after' });
    await expect.poll(() => kept.length, { timeout: 10_000 }).toBeGreaterThan(0);
    await world.server.identities.revoke({ of: 'device', id: 'tablet-1', by: 'operator' });
    for (const bytes of kept.slice(0, 1)) await links.at(-1)?.publish(bytes);
    expect(await names(world)).toEqual(['before']);
    expect(world.events).toContainEqual(
      expect.objectContaining({ type: 'quarantined', reason: 'revoked' }),
    );
    await lost.replica.disconnect();
    expect(await lost.replica.sync()).toMatchObject({ result: 'blocked', error: 'revoked' });
    expect(lost.replica.status.pending.operations).toBe(1);
    expect((await other.replica.sync()).result).toBe('synced');
    expect(
      new Map((await world.server.identities.list()).map(({ device, state }) => [device, state])),
    ).toEqual(
      new Map([
        ['tablet-1', 'revoked'],
        ['tablet-2', 'live'],
      ]),
    );
  });

  test('[IDN-40] a call is refused when its signature is of another call, or its challenge too old', async () => {
    let nowMs = Date.now();
    const world = await openWorld({ identities: 'required', nowMs: () => nowMs });
    const token = await tokenFor(world, 'tablet-1');
    let captured: { readonly link: Link; readonly body: Uint8Array } | undefined;
    const transport = through(world.server.transport, {
      request: (link, endpoint, body, signal) => {
        if (endpoint === 'resume' && openSignedCall(body).proof !== null)
          captured = { link, body: body.slice() };
        return link.request(endpoint, body, signal);
      },
    });
    const { replica } = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
      transport,
    });
    replica.connect();
    await expect.poll(() => replica.status.synced, { timeout: 10_000 }).toBe(true);
    if (captured === undefined) throw new Error('no call was signed');
    const { link, body } = captured;
    const refusal = (endpoint: 'resume' | 'pull', bytes: Uint8Array): Promise<unknown> =>
      link.request(endpoint, bytes).then(
        () => 'answered',
        (cause: { code?: string; details?: { reason?: string } }) =>
          `${cause.code ?? ''} ${cause.details?.reason ?? ''}`,
      );
    expect(await refusal('resume', body)).toBe('answered');
    expect(await refusal('pull', body)).toBe('unauthenticated signature');
    const { body: inner } = openSignedCall(body);
    expect(await refusal('resume', inner)).toBe('unauthenticated signature-needed');
    const bent = body.slice();
    bent[bent.length - 2] = (bent.at(-2) ?? 0) ^ 1;
    expect(await refusal('resume', bent)).toBe('unauthenticated signature');
    nowMs += 11 * 60_000;
    expect(await refusal('resume', body)).toBe('unauthenticated challenge');
    // The replica itself takes the new challenge without anybody's help.
    await replica.disconnect();
    expect((await replica.sync()).result).toBe('synced');
  });

  test('[IDN-50] a receipt that the tenant did not sign is refused, and nothing is dropped by it', async () => {
    const world = await openWorld({ identities: 'required' });
    const token = await tokenFor(world, 'tablet-1');
    let isForging = false;
    const transport = through(world.server.transport, {
      publish: (link, bytes) => (isForging ? Promise.resolve() : link.publish(bytes)),
      request: async (link, endpoint, body, signal) => {
        const answer = await link.request(endpoint, body, signal);
        if (!isForging || endpoint !== 'resume') return answer;
        const decoded = decodeMessage('ResumeAnswer', answer);
        if (decoded._tag === 'Left') throw decoded.left;
        const { message } = decoded.right;
        const receipt = { ...message.receipt, archivedTo: 1_000, mergedTo: 1_000 };
        return encodeMessage('ResumeAnswer', { ...message, receipt });
      },
    });
    const { replica } = await openDevice(world, 'a', {
      token: () => Promise.resolve(token),
      transport,
    });
    expect((await replica.sync()).result).toBe('synced');
    isForging = true;
    await replica.create('things', { name: 'one' });
    expect(await replica.sync()).toMatchObject({ result: 'blocked', error: 'forged-receipt' });
    expect(replica.status.pending.operations).toBe(1);
    isForging = false;
    expect((await replica.sync()).result).toBe('synced');
    expect(await names(world)).toEqual(['one']);

    const more = [await tokenFor(world, 'tablet-2'), await tokenFor(world, 'tablet-3')] as const;
    const other = await openDevice(world, 'b', {
      token: () => Promise.resolve(more[0]),
      receiptKeys: ['00'.repeat(32)],
    });
    expect(await other.replica.sync()).toMatchObject({ error: 'forged-receipt' });
    const third = await openDevice(world, 'c', {
      token: () => Promise.resolve(more[1]),
      receiptKeys: world.server.identities.receiptKeys,
    });
    expect((await third.replica.sync()).result).toBe('synced');
  });
});
