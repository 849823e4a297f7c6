import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { decodeEnvelope, encodeEnvelope } from '@tidemark/model';
import { openReplica } from '@tidemark/node';
import { MemoryLevel } from 'memory-level';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openFixture, schema, type Fixture } from './server-fixture.js';
import { through } from './through.js';

const memory = () =>
  new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });

let folder: string;
let f: Fixture;
const databases = { store: memory(), input: memory() };
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tidemark-quarantine-'));
  f = await openFixture({ databases });
});
afterEach(async () => {
  await f.server.close();
  await rm(folder, { recursive: true, force: true });
});

/** One byte of the last transaction changed: the envelope is well-formed, and its chain leads elsewhere. */
const spoiled = (bytes: Uint8Array): Uint8Array => {
  const decoded = decodeEnvelope(bytes);
  if (decoded._tag === 'Left') throw new Error('an envelope of a device can be decoded');
  const transactions = decoded.right.transactions.map((one) => one.slice());
  const last = transactions.at(-1) as Uint8Array;
  last[last.length - 1] = (last[last.length - 1] as number) ^ 1;
  return encodeEnvelope({ ...decoded.right, transactions });
};

test('[SRV-95] a bad envelope is quarantined once, and what its replica does afterwards is merged', async () => {
  let spoil = true;
  const bad: Uint8Array[] = [];
  const transport = through(f.server.transport, {
    publish: async (link, bytes) => {
      if (!spoil) return link.publish(bytes);
      const other = spoiled(bytes);
      bad.push(other);
      return link.publish(other);
    },
  });
  const replica = await openReplica({
    folder: path.join(folder, 'a'),
    tenant: 'acme',
    user: 'ana',
    schema,
    transport,
  });
  const quarantined = () => f.events.filter(({ type }) => type === 'quarantined');
  try {
    await replica.create('places', { name: 'first' }, { id: 'one' });
    const { result } = await replica.sync({ mode: 'background' });
    await f.server.settle();
    expect(result).not.toBe('synced');
    expect(bad.length).toBeGreaterThan(0);
    expect(quarantined().length).toBe(bad.length);
    const { replica: name } = decodedOf(bad[0]);
    expect(quarantined()[0]).toMatchObject({ reason: 'chain', replica: name });
    expect(await f.server.get('places', 'one')).toBeUndefined();
    expect(replica.status).toMatchObject({ synced: false, pending: { operations: 1 } });

    spoil = false;
    await replica.create('places', { name: 'second' }, { id: 'two' });
    expect(await replica.sync()).toMatchObject({ result: 'synced', error: null, parked: 0 });
    expect(await f.server.get('places', 'one')).toMatchObject({ name: 'first' });
    expect(await f.server.get('places', 'two')).toMatchObject({ name: 'second' });

    // Another opening of the server folds nothing of it again, and what was kept is kept.
    const before = f.server.status().state.counts;
    expect(before.quarantined).toBe(bad.length);
    const badBytes = bad.reduce((sum, { length }) => sum + length, 0);
    expect(before.quarantinedBytes).toBe(badBytes);
    await f.server.close();
    f = await openFixture({ databases });
    await f.server.settle();
    expect(f.server.status().state.counts).toMatchObject({
      quarantined: before.quarantined,
      quarantinedBytes: before.quarantinedBytes,
    });
    expect(quarantined()).toEqual([]);
  } finally {
    await replica.close();
  }
});

const decodedOf = (bytes: Uint8Array | undefined) => {
  const decoded = decodeEnvelope(bytes ?? new Uint8Array(0));
  if (decoded._tag === 'Left') throw new Error('an envelope of a device can be decoded');
  return decoded.right;
};
