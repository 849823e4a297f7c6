import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { concatBytes } from '@tidemark/model';
import { expect, it } from 'vitest';
import { FoldWorld, set, sha256 } from './fold-world.js';

const visit = { table: 1, record: 'v1' } as const;
const author = (n: number): Uint8Array => new Uint8Array(16).fill(n);

/**
 * Edit by author 1 of 'hello world', the genesis below, to 'Zello 😀 world', forged in one byte (0x01 to 0x00
 * before `7c16`) and with a right checksum: the last two insertions put maps into the text, not characters.
 * Automerge takes that and shows U+FFFC for each; what it is asked to write among them can land elsewhere.
 */
const forgedEdit = Uint8Array.from(
  Buffer.from(
    '00000096856f4a8321d0c6ed018b0101c9c3b56c55ceef2fe55cde80edd45dba9906ef898a65e55a6f7b8ff27aa99aca' +
      '1001010101010101010101010101010101010d000001107e3a83908881dadedf302c1e1ab1eba50b0102020211061305' +
      '340442055605570670057102730204010401000102017f007c00020409000101027e010302007c160016465a20f09f98' +
      '807e000102007f017f02',
    'hex',
  ),
);

it('[CRD-10, MRG-1, MRG-2] a forged text parks what cannot be put on it, and holds up nothing else', async () => {
  const crdt = await loadAutomergeCrdt({ hash: sha256 });
  const world = await FoldWorld.open();
  const alice = await world.enrol('a', 'alice');
  const bob = await world.enrol('b', 'bob');
  const carol = await world.enrol('c', 'carol');
  const dave = await world.enrol('d', 'dave');
  const mallory = await world.enrol('m', 'mallory');
  await world.give(
    alice.send({
      ...visit,
      kind: 'create',
      set: set({ 1: [null, 'n'], 5: [null, 'hello world'] }),
    }),
  );
  const update = { ...visit, kind: 'update', base: await world.base(1, 'v1') } as const;
  const key = { tenant: 'acme', table: 1, record: 'v1', field: 5 };
  const start = crdt.genesis(key, 'hello world');
  const edit = (changes: Uint8Array) => ({ ...update, crdt: [{ field: 5, changes }] });

  const forged = concatBytes([crdt.changesOf(start), forgedEdit]);
  const plain = bob.write({ ...update, set: set({ 5: ['hello world', 'hello, world'] }) });
  // Carol's document began from another value, so that the server takes the difference only.
  const other = crdt.genesis(key, 'hello world!');
  const ofCarol = crdt.editText(other, 'hello, world!', author(3), 0);
  const moved = carol.write(edit(crdt.changesOf(ofCarol.document)));
  const onStart = crdt.editText(start, 'hello world, dave', author(4), 0);
  await world.append(
    mallory.send(edit(forged)),
    bob.envelope(plain),
    carol.envelope(moved),
    {
      kind: 'write',
      user: 'boss',
      ops: [{ kind: 'patch', table: 1, id: 'v1', fields: { 5: 'hello there' } }],
    },
    dave.send(edit(onStart.changes)),
    alice.send({ ...update, set: set({ 1: ['n', 'south'] }), inc: [{ field: 3, by: 4 }] }),
    bob.send({ table: 2, record: 'n1', kind: 'create', set: set({ 2: [null, 'bob goes on'] }) }),
    carol.send({
      table: 2,
      record: 'n2',
      kind: 'create',
      set: set({ 2: [null, 'so does carol'] }),
    }),
  );

  // Both refuse the same edits, whatever a window holds.
  const servers = [world, await world.again({ window: { messagesMax: 1 } })];
  for (const { fold } of servers) await fold.advance();
  for (const server of servers) {
    const fields = await server.fields(1, 'v1');
    expect(fields).toEqual({ 1: 'south', 3: 4, 5: 'Zello\ufffc\ufffc world, dave' });
    expect(await server.fields(2, 'n1')).toEqual({ 2: 'bob goes on' });
    expect(await server.fields(2, 'n2')).toEqual({ 2: 'so does carol' });
    const parked = { kind: 'invalid', state: 'open', message: 'visits.text: invalid-value' };
    const rows = await server.syncErrors();
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({ root: bob.op(plain), ...parked });
    expect(rows[1]).toMatchObject({ root: carol.op(moved), ...parked });
    expect(await server.replica('m')).toMatchObject({ mergedTo: 1, parked: 0 });
  }
  expect(servers[1]?.fold.state().digest).toBe(world.fold.state().digest);

  // Once the text was emptied nothing forged is in the way: what was parked can be retried.
  for (const text of ['', 'hello world']) {
    const patch = { kind: 'patch', table: 1, id: 'v1', fields: { 5: text } } as const;
    await world.give({ kind: 'write', user: 'boss', ops: [patch] });
  }
  const resolution = { root: bob.op(plain), action: 'retry', shown: [], choices: [] } as const;
  await world.give({ kind: 'resolution', by: 'boss', id: 's1', resolution });
  expect(await world.syncErrors()).toMatchObject([{ state: 'resolved' }, { state: 'open' }]);
  expect((await world.fields(1, 'v1'))?.[5]).toBe('hello, world');
});
