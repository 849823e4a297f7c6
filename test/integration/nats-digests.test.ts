import path from 'node:path';
import { decodeRow, encodeRow } from '@tidemark/model';
import { nodeCrypto } from '@tidemark/node';
import { openStoreFolder } from '@tidemark/store-level/node';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { describeOnNats } from '../processes/on-nats.js';
import { NatsWorld } from './nats-world.js';

const office = { user: 'office' };
const shared = { checkpoints: 'checkpoints' };
const patience = { timeout: 20_000, interval: 50 };

describeOnNats('digests of servers that fold one stream', () => {
  let world: NatsWorld;
  beforeEach(async () => {
    world = await NatsWorld.open();
  });
  afterEach(() => world.close());

  const ofType = (type: string) => world.events.filter((event) => event.type === type);

  /** Changes a counter in the store of a server that is closed, sums and all: no check of a file sees it. */
  const falsify = async (name: string): Promise<void> => {
    const place = path.join(world.folder, name);
    const store = await openStoreFolder(place, { hash: nodeCrypto.sha256 });
    const [record] = await store.getRecords(1, ['shared']);
    const state = await store.readState();
    if (record === undefined || state === undefined) throw new Error('there is no such record');
    const row = decodeRow(record.row);
    const wrong = encodeRow({ ...row, fields: { ...row.fields, 3: 4_000 } });
    await store.commit(
      {
        state,
        records: [{ table: 1, record: { ...record, row: wrong } }],
        prune: [],
        feed: [],
        ledger: [],
        entries: [],
      },
      'disk',
    );
    await store.close();
  };

  test('[NAT-73] a server whose state is not that of the input leaves, refolds and comes back', async () => {
    const one = await world.serve('one', {}, shared);
    let two = await world.serve('two', {}, shared);
    await one.write(
      [{ kind: 'put', table: 'visits', id: 'shared', fields: { subject: 'shared', count: 3 } }],
      office,
    );
    await two.settle();
    await world.end(two);
    await falsify('two');
    two = await world.serve('two', {}, shared);
    expect(await two.get('visits', 'shared')).toMatchObject({ count: 4_000 });
    const readyWhenFailed: boolean[] = [];
    world.listeners.add((event) => {
      if (event.type === 'fold-failed' && event.of === 'two')
        setImmediate(() => readyWhenFailed.push(two.isReady()));
    });
    await one.write(
      [{ kind: 'increment', table: 'visits', id: 'shared', by: { count: 1 } }],
      office,
    );
    // Whoever hears of the difference first looks; the other one may find nothing to look at any more.
    const verdicts = () =>
      ofType('digest-differs').map((event) =>
        'verdict' in event ? [event.of, event.verdict] : [],
      );
    await vi.waitFor(() => expect(verdicts()).toContainEqual(['two', 'own-wrong']), patience);
    const ofOne = verdicts().filter(([of]) => of === 'one');
    expect(ofOne.every(([, verdict]) => verdict === 'other-wrong')).toBe(true);
    await vi.waitFor(async () => {
      expect(two.isReady()).toBe(true);
      expect(await two.get('visits', 'shared')).toMatchObject({ count: 4 });
    }, patience);
    expect(ofType('fold-failed')).toMatchObject([{ of: 'two', code: 'state-differs' }]);
    expect(readyWhenFailed).toEqual([false]);
    await world.expectEqual();
  });
});
