import { createHash } from 'node:crypto';
import type { ServerBatch } from '@tidemark/ports';
import { openServerStore } from '@tidemark/store-level';
import { MemoryLevel } from 'memory-level';
import { expect, it } from 'vitest';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const marker = { read: () => Promise.resolve(undefined), write: () => Promise.resolve() };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const row = (id: string) => ({
  id,
  version: { incarnation: 0x01020304, n: 5 },
  deleted: false,
  row: new Uint8Array([1]),
  extra: new Uint8Array([2]),
});
const segment = { table: 9, incarnation: 0x0a0b, first: 3, last: 0x010000000002 } as const;
const window: ServerBatch = {
  state: new Uint8Array([1]),
  records: [
    { table: 0x01000002, record: row('é') },
    { table: 2, record: row('b') },
    { table: 2, record: row('a') },
  ],
  prune: [],
  feed: [{ ...segment, bytes: new Uint8Array(300) }],
  ledger: [{ ...segment, bytes: new Uint8Array([4]) }],
  entries: [{ space: 'heads', key: 'r1', value: new Uint8Array([6]) }],
};

it('[STO-65] keys begin with the space, then table or incarnation, big-endian', async () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const store = await openServerStore({ database, marker, hash });
  await store.commit(window, 'os');
  const own = { gte: new Uint8Array([0x40]), lt: new Uint8Array([0x60]) };
  const keys = await database.keys(own).all();
  const place = '00000a0b' + '010000000002' + '00000009';
  expect(keys.map(hex)).toEqual([
    '40',
    '4101',
    '4102',
    '42' + '00000002' + '61',
    '42' + '00000002' + '62',
    '42' + '01000002' + 'c3a9',
    '43' + place,
    '44' + place,
    '45' + place,
    '46' + '06' + '7231',
  ]);
  // A record's value: format, flags, version, length of the row, row, extra; a segment's size is that of its bytes.
  const value = async (key: string): Promise<string> =>
    hex((await database.get(Buffer.from(key, 'hex'))) ?? new Uint8Array(0));
  expect(await value('420000000261')).toBe(
    '01' + '00' + '01020304' + '000000000005' + '00000001' + '01' + '02',
  );
  expect(await value('44' + place)).toBe('01' + '000000000003' + '04');
  expect(await value('45' + place)).toBe('0000012c');
  await store.close();
});
