import { nodeCrypto } from '@tidemark/crypto-node';
import type { InputEntry } from '@tidemark/merger';
import {
  decodeEnvelope,
  devicesTable,
  encodeEnvelope,
  policiesTable,
  replicasTable,
  toBase64,
  toHex,
  tokensTable,
} from '@tidemark/model';
import { envelopeBytes } from '@tidemark/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { customizationOf, Device, FoldWorld, set } from './fold-world.js';

const tenant = 'acme';
const { ed25519 } = nodeCrypto;
const secretOf = (no: number): Uint8Array => new Uint8Array(32).fill(no + 1);
const keyOf = (no: number): string => toHex(ed25519.publicKey(secretOf(no)));

type Envelope = Extract<InputEntry, { kind: 'envelope' }>;

const signed = (entry: Envelope, no: number, device?: string): Envelope => {
  const opened = decodeEnvelope(entry.envelope);
  if (opened._tag === 'Left') throw new Error('no envelope');
  const bytes = envelopeBytes(tenant, opened.right);
  const signature = toBase64(ed25519.sign(secretOf(no), bytes));
  return {
    ...entry,
    caller: { ...entry.caller, ...(device === undefined ? {} : { device }) },
    envelope: encodeEnvelope({ ...opened.right, signature }),
  };
};

const enroll = (
  no: number,
  more: Partial<Extract<InputEntry, { kind: 'enroll' }>> = {},
): InputEntry => ({
  kind: 'enroll',
  replica: `r${no}`,
  user: 'ann',
  device: `d${no}`,
  publicKey: keyOf(no),
  token: null,
  origin: null,
  ...more,
});
const demand: InputEntry = { kind: 'policy', by: 'operator', identities: 'required' };
const tables = [replicasTable, devicesTable, tokensTable, policiesTable] as const;

const rowsOf = async (world: FoldWorld): Promise<unknown> =>
  Promise.all(
    tables.map(async (table) =>
      (await world.store.scanRecords(table, { maxBytes: 1e9, maxRecords: 1e6 })).records.map(
        ({ id, version, row }) => [id, version, Buffer.from(row).toString()],
      ),
    ),
  );

const write = (device: Device) =>
  device.send({
    kind: 'create',
    table: 1,
    record: `v${device.log.lastIndex}`,
    base: null,
    set: set({ 1: [null, 'x'] }),
  });

describe('identities in the fold', () => {
  it('[IDN-25, IDN-31] grants and envelopes of the unknown, the revoked and of others move nothing', async () => {
    const world = await FoldWorld.open();
    const open = await world.enrol('open', 'ann');
    await world.give(write(open), enroll(1), demand);
    const { n } = world.fold.state();
    // What was open before is unknown from here on.
    await world.give(signed(write(open), 9));
    const device = new Device(open.log.copy({ replica: 'r1' }, 0));
    const stranger = new Device(open.log.copy({ replica: 'r7' }, 0));
    await world.give(stranger.grant({ epoch: 0, provisional: 'x' }));
    const copied = { continues: { index: 1, head: open.log.headTextAt(1) } };
    const origin = { replica: 'open', epoch: 1 };
    await world.give(device.grant({ epoch: 0, provisional: 'y', origin, ...copied }));
    expect(world.fold.state().counts).toMatchObject({ quarantined: 1, refusedGrants: 2 });
    await world.give(device.grant({ epoch: 0, provisional: 'z' }));
    expect(await world.replica('r1')).toMatchObject({ epoch: 1, mergedTo: 0 });
    await world.give(signed(write(device), 1, 'd1'));
    expect(await world.replica('r1')).toMatchObject({ mergedTo: 1 });
    const next = write(device);
    await world.give(signed(next, 1, 'd2'), signed(next, 2, 'd1'), next);
    expect(world.fold.state().counts).toMatchObject({ quarantined: 4 });
    await world.give({ kind: 'revoke', by: 'operator', of: 'device', id: 'd1' });
    await world.give(signed(next, 1, 'd1'), device.grant({ epoch: 1, provisional: 'w' }));
    await world.give(enroll(1, { replica: 'r8', publicKey: keyOf(8) }));
    expect(world.fold.state().counts).toMatchObject({ quarantined: 5, refusedGrants: 3 });
    expect(await world.stored(replicasTable, 'r8')).toBeUndefined();
    expect(await world.replica('r1')).toMatchObject({ mergedTo: 1 });
    expect(world.fold.state().n).toBeGreaterThan(n);
  });

  it('[IDN-21, IDN-22] a token has one user, one device, one use and an end', async () => {
    const world = await FoldWorld.open();
    const token = 'a'.repeat(64);
    const made = { kind: 'token', by: 'op', hash: token, user: 'ann', device: 'd1' } as const;
    await world.give({ ...made, expiresOn: world.clock.now + 100 });
    // The same hash again, as if its time could be changed.
    await world.give({ ...made, expiresOn: world.clock.now + 1e9 });
    const by = (no: number, more = {}) => enroll(no, { token, device: 'd1', ...more });
    await world.give(
      by(1, { user: 'bob' }),
      by(1, { device: 'd2' }),
      by(1, { token: 'b'.repeat(64) }),
    );
    expect(await world.stored(replicasTable, 'r1')).toBeUndefined();
    await world.give(by(1), by(2), by(1));
    expect(await world.fields(replicasTable, 'r1')).toMatchObject({ 1: 'ann', 3: keyOf(1) });
    expect(await world.stored(replicasTable, 'r2')).toBeUndefined();
    expect(await world.fields(tokensTable, token)).toMatchObject({ 4: 'r1' });
    const late = 'c'.repeat(64);
    await world.give({ ...made, hash: late, expiresOn: world.clock.now + 15 });
    world.clock.now += 10;
    await world.give(by(3, { token: late }));
    expect(await world.stored(replicasTable, 'r3')).toBeUndefined();
    // A key that was lost: the same user, on the same device.
    await world.give(enroll(1, { device: 'd1', publicKey: keyOf(5) }));
    await world.give(enroll(1, { device: 'd9', publicKey: keyOf(6) }));
    expect(await world.fields(replicasTable, 'r1')).toMatchObject({ 3: keyOf(5) });
  });

  it('[IDN-32] folding again in windows of any size gives the same digest, counts and reasons', async () => {
    const replica = fc.integer({ min: 0, max: 2 });
    const device = fc.integer({ min: 0, max: 2 });
    const step = fc.oneof(
      fc.record({ do: fc.constant('enroll' as const), replica, device, key: replica }),
      fc.record({ do: fc.constant('token' as const), replica, device }),
      fc.record({ do: fc.constant('revoke' as const), replica, whole: fc.boolean() }),
      fc.record({ do: fc.constant('demand' as const), replica }),
      fc.record({ do: fc.constant('grant' as const), replica }),
      fc.record({ do: fc.constant('envelope' as const), replica, key: replica, from: device }),
      fc.record({ do: fc.constant('envelope' as const), replica, key: replica, from: device }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 24 }),
        fc.integer({ min: 2, max: 7 }),
        async (steps, messagesMax) => {
          const world = await FoldWorld.open();
          const first = await world.enrol('seed', 'ann');
          const devices = [0, 1, 2].map(
            (no) => new Device(first.log.copy({ replica: `r${no}` }, 0)),
          );
          const entries: InputEntry[] = [demand];
          steps.forEach((one, at) => {
            const author = devices[one.replica] as Device;
            const token = String(one.replica).repeat(64);
            switch (one.do) {
              case 'enroll': {
                const more = { device: `d${one.device}`, publicKey: keyOf(one.key) };
                const by = at % 2 === 0 ? {} : { token };
                entries.push(enroll(one.replica, { ...more, ...by }));
                break;
              }
              case 'token':
                entries.push({
                  ...{ kind: 'token', by: 'op', hash: token, user: 'ann' },
                  ...{ device: `d${one.device}`, expiresOn: 1e12 },
                });
                break;
              case 'revoke': {
                const of = one.whole ? 'device' : 'replica';
                const id = one.whole ? `d${one.replica}` : `r${one.replica}`;
                entries.push({ kind: 'revoke', by: 'op', of, id });
                break;
              }
              case 'demand':
                entries.push(demand);
                break;
              case 'grant':
                entries.push(author.grant({ epoch: 0, provisional: `p${one.replica}` }));
                break;
              case 'envelope':
                entries.push(signed(write(author), one.key, `d${one.from}`));
            }
          });
          // Half of it comes before the demand.
          const cut = Math.floor(entries.length / 2);
          const ordered = [...entries.slice(1, cut + 1), demand, ...entries.slice(cut + 1)];
          await world.append(...ordered);
          const views = [];
          for (const window of [{ messagesMax: 1 }, { messagesMax }, {}]) {
            const reasons: string[] = [];
            const server = await world.again({ window });
            server.fold.onApplied(({ quarantined }) => {
              for (const { reason, position } of quarantined)
                reasons.push(`${position.seq} ${reason}`);
            });
            const state = await server.fold.advance();
            views.push({
              state,
              reasons,
              rows: await rowsOf(server),
              kept: await server.space('quarantine'),
            });
          }
          expect(views[1]).toEqual(views[0]);
          expect(views[2]).toEqual(views[0]);
          expect(views[0]?.reasons).toHaveLength(views[0]?.state.counts.quarantined ?? -1);
        },
      ),
      // Each run opens four stores and folds three times.
      { numRuns: 40 },
    );
  });

  it('[IDN-10] the demand is a record, and what is stored of it opens again', async () => {
    const world = await FoldWorld.open();
    await world.give(
      { kind: 'customization', by: 'admin', json: customizationOf(1) },
      demand,
      demand,
    );
    expect(world.fold.state()).toMatchObject({ needsIdentities: true, n: 2 });
    expect(await world.fields(policiesTable, 'identities')).toEqual({ 1: 'required' });
  });
});
