import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { CommandRoom } from '../processes/command-room.js';
import { closeAll, closers, openDevice, openWorld, tokenFor } from './identity-world.js';
import { through } from './through.js';

const rooms: CommandRoom[] = [];
afterEach(async () => {
  await closeAll();
  for (const room of rooms.splice(0)) room.dispose();
});

interface Finding {
  readonly check: string;
  readonly state: string;
  readonly found: string;
  readonly mend: string | null;
}

const roomOn = (folder: string, more: Readonly<Record<string, unknown>> = {}): CommandRoom => {
  const room = new CommandRoom();
  rooms.push(room);
  const schema = 'tidemark.schema.json';
  room.write('tidemark.config.json', JSON.stringify({ tenant: 'acme', schema, folder, ...more }));
  room.write(schema, JSON.stringify({ format: 1, version: 1, tables: [] }));
  return room;
};
const doctorIn = async (room: CommandRoom): Promise<readonly Finding[]> => {
  const { out } = await room.run(['doctor', '--json']);
  return (JSON.parse(out) as { readonly findings: readonly Finding[] }).findings;
};
const ofCheck = (findings: readonly Finding[], check: string): Finding => {
  const found = findings.filter((one) => one.check === check);
  expect(found.map(({ check: name }) => name)).toEqual([check]);
  return found[0] as Finding;
};

const credential = (claims: object): string => {
  const part = (json: object): string => Buffer.from(JSON.stringify(json)).toString('base64url');
  const jwt = [part({ alg: 'ed25519-nkey' }), part(claims), 'c2lnbmF0dXJl'].join('.');
  return `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n`;
};

test('[CLI-53] doctor tells of tokens that expired, of devices that never came, and of who is revoked', async () => {
  const world = await openWorld({ identities: 'required' });
  const enrol = async (device: string): Promise<void> => {
    const token = await tokenFor(world, device);
    const { replica } = await openDevice(world, device, { token: () => Promise.resolve(token) });
    expect((await replica.sync()).result).toBe('synced');
  };
  await enrol('tablet-here');
  await enrol('tablet-stolen');
  await world.server.identities.revoke({ of: 'device', id: 'tablet-stolen', by: 'operator' });
  await tokenFor(world, 'tablet-open');
  await tokenFor(world, 'tablet-late', 'ann', 1);
  // One that was given a new token in time, and one that was enrolled by another: nothing to mend.
  await tokenFor(world, 'tablet-open', 'ann', 1);
  await tokenFor(world, 'tablet-here', 'ann', 1);
  const never = await tokenFor(world, 'tablet-never');
  const losing = through(world.server.transport, {
    request: async (link, endpoint, body, signal) => {
      const answer = await link.request(endpoint, body, signal);
      if (endpoint !== 'enroll' || answer.length === 0) return answer;
      throw Object.assign(new Error('lost'), { name: 'lost' });
    },
  });
  const lost = await openDevice(world, 'never', {
    token: () => Promise.resolve(never),
    transport: losing,
  });
  await expect(lost.replica.sync()).rejects.toThrow('lost');
  for (const close of closers.splice(0).reverse()) await close();

  const room = roomOn(path.join(world.folder, 'server'));
  const findings = await doctorIn(room);
  expect(ofCheck(findings, 'identities')).toMatchObject({
    state: 'ok',
    found: expect.stringContaining(
      'demanded; 2 replicas on 2 devices are enrolled, 1 replicas and 1 devices are revoked',
    ) as unknown,
  });
  const tokens = findings.filter(({ check }) => check === 'tokens');
  expect(tokens).toMatchObject([
    { state: 'ok', found: expect.stringContaining('1: tablet-open (ann); ') as unknown },
    {
      state: 'warning',
      found: 'expired before anybody used them, 1: tablet-late (ann)',
      mend: expect.stringContaining('tidemark enroll') as unknown,
    },
  ]);
  expect(ofCheck(findings, 'devices')).toMatchObject({
    state: 'warning',
    found: 'enrolled and never seen since, 1: tablet-never (ann)',
    mend: expect.stringContaining('tidemark revoke --name') as unknown,
  });
  // The tenant demands identities, and here is nothing to make a credential with.
  expect(ofCheck(findings, 'keys of NATS')).toMatchObject({
    state: 'warning',
    mend: expect.stringContaining('identity.folder') as unknown,
  });
});

test('[CLI-53] doctor tells of credentials that end soon or have ended, and of keys that are missing', async () => {
  const room = roomOn('data/server', { nats: { credentials: 'server.creds' } });
  const dayMs = 24 * 3_600_000;
  const endsIn = (ms: number): object => ({ sub: 'U', exp: Math.floor((Date.now() + ms) / 1_000) });
  const cases: readonly (readonly [string | undefined, string, RegExp])[] = [
    [credential(endsIn(40 * dayMs)), 'ok', /ends on/],
    [credential(endsIn(3 * dayMs)), 'warning', /ends on/],
    [credential(endsIn(-dayMs)), 'failed', /ended on/],
    [credential({ sub: 'U' }), 'ok', /has no end/],
    ['no credential', 'failed', /holds no credential/],
    [undefined, 'failed', /server\.creds/],
  ];
  for (const [text, state, found] of cases) {
    rmSync(room.file('server.creds'), { force: true });
    if (text !== undefined) room.write('server.creds', text);
    const finding = ofCheck(await doctorIn(room), 'credential');
    expect(finding).toMatchObject({ state, found: expect.stringMatching(found) as unknown });
    expect(finding.mend === null).toBe(state === 'ok');
  }
  const keysOf = async (): Promise<Finding | undefined> =>
    (await doctorIn(room)).find(({ check }) => check === 'keys of NATS');
  expect(await keysOf()).toBeUndefined();
  await room.json('identity', 'init');
  expect(await keysOf()).toMatchObject({ state: 'ok' });
  rmSync(room.file('data/identity/system.creds'));
  expect(await keysOf()).toMatchObject({
    state: 'warning',
    found: expect.stringMatching(/lacks system\.creds/) as unknown,
  });
  const keys = readFileSync(room.file('data/identity/keys.json'));
  rmSync(room.file('data/identity/keys.json'));
  expect(await keysOf()).toMatchObject({
    state: 'warning',
    found: expect.stringMatching(/there are none in/) as unknown,
  });
  writeFileSync(room.file('data/identity/keys.json'), keys.subarray(0, 20));
  expect(await keysOf()).toMatchObject({
    state: 'failed',
    found: expect.stringMatching(/storage-damaged/) as unknown,
  });
  mkdirSync(room.file('elsewhere'));
  const other = roomOn('data/server', { identity: { folder: room.file('elsewhere') } });
  expect((await doctorIn(other)).find(({ check }) => check === 'keys of NATS')).toBeUndefined();
});
