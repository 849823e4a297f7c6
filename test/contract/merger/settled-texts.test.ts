import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { decodeRow, fromBase64 } from '@tidemark/model';
import { expect, it } from 'vitest';
import { FoldWorld, sha256 } from './fold-world.js';

const author = (n: number): Uint8Array => new Uint8Array(16).fill(n);

it('[SRV-101, SRV-21] a note of many edits is stored in the same bytes, whatever the windows', async () => {
  const crdt = await loadAutomergeCrdt({ hash: sha256 });
  const world = await FoldWorld.open();
  const device = await world.enrol('a', 'alice');
  await world.give({
    kind: 'write',
    user: 'boss',
    ops: [{ kind: 'upsert', table: 1, id: 'r', fields: { 5: '' } }],
  });
  const base = await world.base(1, 'r');
  const start = crdt.genesis({ tenant: 'acme', table: 1, record: 'r', field: 5 }, '');
  let document = start;
  let typed = '';
  for (const edits of [40, 90, 3]) {
    const from = device.log.lastIndex + 1;
    for (let i = 0; i < edits; i += 1) {
      const edit = crdt.spliceText(document, typed.length, 0, `${i} `, author(1), 0);
      const changes = document === start ? crdt.changesOf(edit.document) : edit.changes;
      document = edit.document;
      typed = edit.value;
      const target = { table: 1, record: 'r', base, prev: from === 1 && i === 0 ? 0 : 1 };
      device.write({ ...target, kind: 'update', crdt: [{ field: 5, changes }] });
    }
    await world.append(device.envelope(from));
  }
  const servers = [
    world,
    await world.again({ window: { messagesMax: 1 } }),
    await world.again({ window: { messagesMax: 2 } }),
  ];
  const stored: unknown[] = [];
  for (const server of servers) {
    await server.fold.advance();
    const [record] = await server.store.getRecords(1, ['r']);
    if (record === undefined) throw new Error('the note is stored');
    const row = decodeRow(record.row);
    expect(row.fields[5]).toBe(typed);
    const bytes = fromBase64(row.docs[5] ?? '') ?? new Uint8Array();
    expect(crdt.heads(bytes)).toEqual(crdt.heads(document));
    // The changes alone take more than 130 bytes each.
    expect(bytes.length).toBeLessThan(8_192);
    stored.push([row, server.fold.state().digest]);
  }
  expect(stored[1]).toEqual(stored[0]);
  expect(stored[2]).toEqual(stored[0]);
});
