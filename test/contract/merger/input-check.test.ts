import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto } from '@tidemark/crypto-node';
import { encodeInputEntry, openFold } from '@tidemark/merger';
import type { InputLog } from '@tidemark/ports';
import { describe, expect, it } from 'vitest';
import { FoldWorld, memoryStore, sha256 } from './fold-world.js';

describe('looking at the input', () => {
  it('[SRV-17] refuses an input that is not the one it has folded', async () => {
    const world = await FoldWorld.open();
    await world.enrol('a', 'user-1');
    const other = await FoldWorld.open();
    const crdt = () => loadAutomergeCrdt({ hash: sha256 });
    const fold = await openFold({
      tenant: 'acme',
      store: world.store,
      input: other.input,
      crypto: nodeCrypto,
      crdt,
    });
    await expect(fold.advance()).rejects.toMatchObject({
      code: 'input-mismatch',
      details: { reason: 'rewound' },
    });
  });

  it('[SRV-105] refuses one whose generation had lost messages when it ended', async () => {
    const world = await FoldWorld.open();
    await world.enrol('a', 'user-1');
    await world.enrol('b', 'user-1');
    const other = await FoldWorld.open();
    const { input } = world;
    const [first] = await input.read({ generation: 1, seq: 0 }, { maxBytes: 1, maxMessages: 1 });
    await other.input.append([first?.bytes ?? new Uint8Array()]);
    const rolled = encodeInputEntry({ kind: 'generation' });
    await other.input.startGeneration({ generation: 1, last: 1 }, rolled);
    const fold = await openFold({
      tenant: 'acme',
      store: world.store,
      input: other.input,
      crypto: nodeCrypto,
      crdt: () => loadAutomergeCrdt({ hash: sha256 }),
    });
    for (const work of [() => fold.advance(), () => fold.check()])
      await expect(work()).rejects.toMatchObject({
        code: 'input-mismatch',
        details: { reason: 'rewound' },
      });
  });

  it('[SRV-102] fsyncs what it has folded before it tells that the input lacks it', async () => {
    const world = await FoldWorld.open();
    await world.enrol('a', 'user-1');
    const other = await FoldWorld.open();
    const calls: string[] = [];
    const sync = async (): Promise<void> => {
      calls.push('sync');
      await world.store.sync();
    };
    const fold = await openFold({
      tenant: 'acme',
      store: { ...world.store, sync },
      input: other.input,
      crypto: nodeCrypto,
      crdt: () => loadAutomergeCrdt({ hash: sha256 }),
    });
    for (const work of [() => fold.advance(), () => fold.check()]) {
      await work().catch((cause: unknown) => calls.push((cause as { code: string }).code));
      expect(calls.splice(0)).toEqual(['sync', 'input-mismatch']);
    }
  });

  it('[SRV-17] finds it whole, also while a window is applied', async () => {
    const world = await FoldWorld.open();
    await world.enrol('a', 'user-1');
    let wait = Promise.resolve();
    const { input } = world;
    const slow: InputLog = {
      damage: [],
      append: (messages) => input.append(messages),
      read: (after, bounds) => input.read(after, bounds),
      endOf: (generation) => input.endOf(generation),
      hashAt: (position) => input.hashAt(position),
      startGeneration: (expected, first) => input.startGeneration(expected, first),
      trim: (position) => input.trim(position),
      close: () => input.close(),
      extent: async () => {
        const extent = await input.extent();
        const before = wait;
        wait = Promise.resolve();
        await before;
        return extent;
      },
    };
    const fold = await openFold({
      tenant: 'acme',
      store: await memoryStore(),
      input: slow,
      crypto: nodeCrypto,
      crdt: () => loadAutomergeCrdt({ hash: sha256 }),
    });
    await fold.advance();
    let go: () => void = () => undefined;
    wait = new Promise((resolve) => {
      go = resolve;
    });
    const checked = fold.check();
    await world.enrol('b', 'user-1');
    const advanced = fold.advance();
    // Whatever can be applied while the look is under way is applied now.
    await new Promise((resolve) => setTimeout(resolve, 20));
    go();
    await checked;
    expect((await advanced).position).toEqual(world.fold.state().position);
    await fold.check();
  });
});
