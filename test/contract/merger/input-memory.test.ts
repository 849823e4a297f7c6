import {
  decodeInputEntry,
  encodeInputEntry,
  knownMessagesMax,
  type InputEntry,
} from '@tidemark/merger';
import { toHex } from '@tidemark/model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FoldWorld, memoryStore, sha256 } from './fold-world.js';

const visit = (by: number): InputEntry => ({
  kind: 'write',
  user: 'office',
  ops: [{ kind: 'increment', table: 1, id: 'v1', by: { 3: by } }],
});
const create: InputEntry = {
  kind: 'write',
  user: 'office',
  ops: [{ kind: 'upsert', table: 1, id: 'v1', fields: { 1: 'north' } }],
};

/** The entry as it comes again, from where it may have stood. */
const again = (entry: InputEntry, generation: number, seq: number): InputEntry => {
  const bytes = encodeInputEntry(entry);
  const hash = toHex(sha256(bytes).subarray(0, 16));
  return { kind: 'again', of: { generation, seq, hash }, entry: bytes };
};

const open = async (): Promise<FoldWorld> => {
  const world = await FoldWorld.open({ keepInput: true });
  await world.enrol('a', 'user-1');
  await world.give(create);
  return world;
};
const count = async (world: FoldWorld): Promise<unknown> => (await world.fields(1, 'v1'))?.[3] ?? 0;

describe('entries that come again', () => {
  it('[SRV-28] counts once what the line of history lacks, and not at all what it has', async () => {
    const world = await open();
    await world.give(visit(1));
    const { seq } = world.fold.state().position;
    await world.give(again(visit(1), 1, seq));
    expect(await count(world)).toBe(1);
    await world.give(again(visit(10), 1, seq));
    expect(await count(world)).toBe(11);
    await world.give(again(visit(10), 1, seq), again(visit(100), 1, seq + 500));
    expect(await count(world)).toBe(111);
    expect(world.fold.state().counts).toMatchObject({ duplicates: 2, quarantined: 0 });
    // Another server comes to the same, whatever it has stored itself.
    const other = await world.again();
    await other.fold.advance();
    expect(other.fold.state()).toEqual(world.fold.state());
  });

  it('[SRV-28] quarantines what cannot come again, and what is too old to tell', async () => {
    const world = await open();
    const life: InputEntry = { kind: 'life', id: '0'.repeat(32) };
    const inner = again(visit(1), 1, 77);
    await world.give(again(life, 1, 70), again(inner, 1, 71));
    expect(await count(world)).toBe(0);
    expect(world.fold.state().counts.quarantined).toBe(2);
    // A store that remembers no input cannot tell whether it had this one.
    const forgetful = await FoldWorld.open();
    await forgetful.enrol('a', 'user-1');
    await forgetful.give(create, again(visit(1), 1, 2));
    expect(await count(forgetful)).toBe(0);
    expect(forgetful.fold.state().counts.quarantined).toBe(1);
    expect(knownMessagesMax).toBeGreaterThan(10_000);
  });

  it('[SRV-28] an entry that comes again is what was encoded, and decoding is total', () => {
    fc.assert(
      fc.property(fc.nat(1e9), fc.nat(1e9), fc.uint8Array(), (generation, seq, entry) => {
        const of = { generation, seq, hash: toHex(sha256(entry).subarray(0, 16)) };
        const bytes = encodeInputEntry({ kind: 'again', of, entry });
        const decoded = decodeInputEntry(bytes);
        expect(decoded).toMatchObject({ right: { kind: 'again', of } });
        for (let at = 0; at < bytes.length; at += 1) decodeInputEntry(bytes.subarray(0, at));
      }),
    );
  });
});

describe('kept input', () => {
  it('[SRV-29] is there message by message until it is forgotten, and is no part of a dump', async () => {
    const world = await open();
    await world.give(visit(1), visit(2));
    const kept = (await world.space('kept-input')).length;
    expect(kept).toBeGreaterThan(2);
    const known = await world.space('known-input');
    expect(known).toHaveLength(kept);
    const copy = await memoryStore();
    await copy.putEntries([{ space: 'kept-input', key: '0/own', value: new Uint8Array(3) }]);
    await copy.load(world.store.dump());
    const entries = async (space: 'kept-input' | 'known-input') =>
      (await copy.scanEntries(space, { gt: '', lt: '\uffff', limit: 100 })).map(({ key }) => key);
    expect(await entries('kept-input')).toEqual(['0/own']);
    expect(await entries('known-input')).toEqual(known.map(([key]) => key));
    const { seq } = world.fold.state().position;
    await world.fold.forgetInput({ generation: 1, seq: seq - 1 });
    expect((await world.space('kept-input')).length).toBeLessThanOrEqual(1);
    await world.give(visit(3));
    expect(await count(world)).toBe(6);
    await world.fold.forgetInput(world.fold.state().position);
    expect(await world.space('kept-input')).toEqual([]);
  });
});
