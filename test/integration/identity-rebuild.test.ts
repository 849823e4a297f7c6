import { randomBytes } from 'node:crypto';
import { openMerger, type Merger } from '@tidemark/merger';
import { systemTimer } from '@tidemark/node';
import type { InputLog, Service } from '@tidemark/ports';
import { encodeMessage } from '@tidemark/protocol';
import { openInputLog, openServerStore } from '@tidemark/store-level';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { crdt, crypto, memoryDatabase, memoryMarker } from '../convergence/memory-parts.js';
import { customizationOf } from '../convergence/tables.js';

const clock = { nowMs: () => Date.now() };
const stranger = { tenant: 'acme', replica: 'mallory', user: 'mallory' };
const writes = 20;

/** The same input, whose reading waits at the gate. */
const gated = (input: InputLog, gate: () => Promise<void>): InputLog =>
  new Proxy(input, {
    get: (target, key) => {
      if (key === 'read')
        return async (...args: Parameters<InputLog['read']>) => {
          await gate();
          return target.read(...args);
        };
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });

// A store that was lost, or put back, is older than the demand that its input holds.
describe('a server that folds its input again', () => {
  let input: InputLog;
  let openGate: () => void;
  let merger: Merger;
  const open = async (gate = Promise.resolve()): Promise<Merger> =>
    openMerger({
      ...{ tenant: 'acme', crypto, clock, timer: systemTimer, crdt },
      input: gated(input, () => gate),
      store: await openServerStore({
        ...{ database: memoryDatabase(), marker: memoryMarker(), hash: crypto.sha256 },
      }),
      entropy: { bytes: (count) => new Uint8Array(randomBytes(count)) },
      cursorKey: new Uint8Array(32).fill(7),
      window: { messagesMax: 1 },
    });
  const pull = (service: Service): Promise<Uint8Array> => {
    const scope = { tables: 'all' } as const;
    const seen = { incarnation: 0, n: 0 };
    const asked = { cursor: null, tables: null, scope, seen, maxBytes: 100_000 };
    return service.answer(stranger, 'pull', encodeMessage('PullRequest', asked));
  };
  const writeSome = async (isDemanded: boolean): Promise<void> => {
    const first = await open();
    await first.publish(customizationOf(1), 'admin');
    for (let i = 0; i < writes; i += 1) {
      const upsert = { kind: 'upsert', table: 1, id: `r${i}`, fields: { 1: 'x' } } as const;
      await first.submit({ kind: 'write', user: 'admin', ops: [upsert] });
    }
    if (isDemanded) await first.identities.require('admin');
    await first.close();
    const gate = new Promise<void>((resolve) => {
      openGate = resolve;
    });
    merger = await open(gate);
  };

  beforeAll(async () => {
    await crdt();
  });
  beforeEach(async () => {
    input = await openInputLog({
      ...{ database: memoryDatabase(), marker: memoryMarker(), hash: crypto.sha256, clock },
    });
  });
  afterEach(async () => {
    openGate();
    await merger.close();
    await input.close();
  });

  test('[IDN-11] answers no stranger before it knows of the demand', async () => {
    await writeSome(true);
    expect(merger.state()).toMatchObject({ n: 0, needsIdentities: false });
    await expect(pull(merger.service)).rejects.toMatchObject({ code: 'behind' });
    const waiting = pull(merger.service);
    openGate();
    await expect(waiting).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(merger.state()).toMatchObject({ needsIdentities: true });
  });

  test('[IDN-11] of an open tenant answers once it has read what was there', async () => {
    await writeSome(false);
    await expect(pull(merger.service)).rejects.toMatchObject({ code: 'behind' });
    const waiting = pull(merger.service);
    openGate();
    expect((await waiting).length).toBeGreaterThan(writes);
    expect(merger.state().n).toBe(1 + writes);
  });
});
