import type { Customization } from '@tidemark/model';
import { describe, expect, test } from 'vitest';
import { abortSource } from './abort-source.js';
import { backOffMs, retryBaseMs } from './back-off.js';
import { planCustomization } from './customize.js';
import { newestValues } from './newest-values.js';

const chance = (byte: number) => ({ bytes: (count: number) => new Uint8Array(count).fill(byte) });

describe('pauses', () => {
  test('[SYN-23] pauses double up to their bound and are drawn from the upper half', () => {
    expect(backOffMs(1, 30_000, chance(0))).toBe(retryBaseMs / 2);
    expect(backOffMs(1, 30_000, chance(255))).toBe(retryBaseMs);
    expect(backOffMs(4, 30_000, chance(0))).toBe((8 * retryBaseMs) / 2);
    expect(backOffMs(60, 30_000, chance(255))).toBeLessThanOrEqual(30_000);
    expect(backOffMs(60, 30_000, chance(0))).toBe(15_000);
  });
});

describe('abort sources', () => {
  test('[SYN-22] an abort of the parent is passed on once, and not after release', () => {
    const parent = abortSource();
    const child = abortSource(parent.signal);
    const released = abortSource(parent.signal);
    released.release();
    let calls = 0;
    child.signal.addEventListener('abort', () => {
      calls += 1;
    });
    parent.abort();
    parent.abort();
    child.abort();
    expect(calls).toBe(1);
    expect(child.signal.aborted).toBe(true);
    expect(released.signal.aborted).toBe(false);
    expect(abortSource(parent.signal).signal.aborted).toBe(true);
  });
});

describe('plans for customizations', () => {
  const base: Customization = {
    format: 1,
    version: 1,
    tables: [
      {
        id: 1,
        name: 'visits',
        rule: 'server-wins',
        onDelete: 'edit-wins',
        indexes: [],
        fields: [{ id: 1, name: 'subject', type: 'string' }],
      },
    ],
  };
  const [visits] = base.tables;
  if (visits === undefined) throw new Error('the test has a table');
  const withTable = (change: Partial<typeof visits>): Customization => ({
    ...base,
    version: 2,
    tables: [{ ...visits, ...change }],
  });

  test('[SYN-45] additions apply, an index waits for the foreground, removals are refused', () => {
    const added = { id: 2, name: 'place', type: 'string' } as const;
    expect(planCustomization(base, withTable({ fields: [...visits.fields, added] }))).toBe('apply');
    expect(planCustomization(base, withTable({ rule: 'manual' }))).toBe('apply');
    const index = { name: 'bySubject', fields: ['subject'] };
    expect(planCustomization(base, withTable({ indexes: [index] }))).toBe('foreground');
    expect(planCustomization(base, withTable({ fields: [added] }))).toBe('refuse');
    expect(planCustomization(base, { ...base, version: 2, tables: [] })).toBe('refuse');
  });
});

describe('newest values', () => {
  test('[ERR-64] a slow reader gets the newest value only, and an abort ends the iteration', async () => {
    const listeners = new Set<() => void>();
    let value = 1;
    const stop = abortSource();
    const values = newestValues(
      () => value,
      (changed) => {
        listeners.add(changed);
        return () => listeners.delete(changed);
      },
      stop.signal,
    )[Symbol.asyncIterator]();
    const set = (next: number): void => {
      value = next;
      for (const listener of listeners) listener();
    };
    expect((await values.next()).value).toBe(1);
    set(2);
    set(3);
    expect((await values.next()).value).toBe(3);
    const waiting = values.next();
    set(4);
    expect((await waiting).value).toBe(4);
    const last = values.next();
    stop.abort();
    expect((await last).done).toBe(true);
    expect(listeners.size).toBe(0);
  });
});
