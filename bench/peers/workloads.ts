import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PeerProcess } from './peer-process.js';
import type { Edits, PeerDevice, PeerServer } from './roles.js';

/** One workload of one engine. */
export interface PeerResult {
  readonly peer: string;
  readonly version: string;
  readonly workload: string;
  readonly records: number;
  readonly moved: number;
  readonly seconds: number;
  readonly perSecond: number;
  /** Peaks of the processes so far, without a broker between them. */
  readonly rssMb: { readonly device: number; readonly server: number };
  /** Bytes over the device's connections, both ways. */
  readonly wireBytes: number;
  /** Compared afterwards, outside the timed part. */
  readonly verified: boolean;
  readonly outcome?: string;
}

/** What the workloads of an engine need. */
export interface PeerRun {
  readonly peer: string;
  readonly version: string;
  readonly installed: string;
  readonly natsUrl: string;
  readonly records: number;
}

const changedRecords = 100;
const editedRecords = 10_000;
const conflictRecords = 100;
const probes = 50;

type Server = PeerProcess<PeerServer>;
type Device = PeerProcess<PeerDevice>;

/** Edits spread over all records. */
const spread = (records: number, count: number, value: string): Edits => ({
  ...{ from: 0, step: Math.max(1, Math.floor(records / count)), count, value },
});

const probed = ({ from, step, count }: Edits): number[] =>
  Array.from({ length: Math.min(count, probes) }, (_, i) => {
    const at = Math.floor((i * (count - 1)) / Math.max(1, Math.min(count, probes) - 1));
    return from + at * step;
  });

const reads = (of: Server | Device, edits: Edits): Promise<string[]> =>
  Promise.all(probed(edits).map((i) => (of as Device).call('read', i)));

const holds = async (of: Server | Device, edits: Edits): Promise<boolean> =>
  (await reads(of, edits)).every((value) => value === edits.value);

const tally = (values: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].map(([value, count]) => `${value} ${count}`).join(', ');
};

/** Runs all workloads of an engine; tells each result as it comes. */
export const runPeer = async (run: PeerRun, tell: (result: PeerResult) => void): Promise<void> => {
  const { peer, version, installed, natsUrl, records } = run;
  const folder = await mkdtemp(path.join(tmpdir(), `tidemark-peer-${peer}-`));
  const server: Server = new PeerProcess<PeerServer>(peer, 'server');
  const devices: Device[] = [];
  const openDevice = async (name: string, address: string): Promise<Device> => {
    const device: Device = new PeerProcess<PeerDevice>(peer, 'device');
    devices.push(device);
    await device.call('open', { folder, name, installed, address });
    return device;
  };
  const measure = async (
    workload: string,
    moved: number,
    device: Device,
    work: () => Promise<unknown>,
    check: () => Promise<boolean | { readonly verified: boolean; readonly outcome: string }>,
  ): Promise<void> => {
    const before = await device.usage();
    const started = performance.now();
    await work();
    const seconds = (performance.now() - started) / 1_000;
    const after = await device.usage();
    const checked = await check();
    tell({
      ...{ peer, version, workload, records, moved },
      seconds: Number(seconds.toFixed(3)),
      perSecond: Math.round(moved / seconds),
      rssMb: { device: after.peakRssMb, server: (await server.usage()).peakRssMb },
      wireBytes: after.bytes - before.bytes,
      ...(typeof checked === 'boolean' ? { verified: checked } : checked),
    });
  };
  try {
    const address = await server.call('start', { folder, records, installed, natsUrl });
    const a = await openDevice('a', address);
    await measure(
      'full sync',
      records,
      a,
      () => a.call('pull'),
      async () => (await a.call('count')) === records,
    );

    const changed = spread(records, changedRecords, 'changed');
    await server.call('change', changed);
    await measure(
      'incremental',
      changedRecords,
      a,
      () => a.call('pull'),
      () => holds(a, changed),
    );

    const edited = spread(records, Math.min(records, editedRecords), 'edited');
    await measure(
      'offline edits',
      edited.count,
      a,
      () => a.call('edit', edited),
      () => holds(a, edited),
    );
    await measure(
      'upload',
      edited.count,
      a,
      () => a.call('push'),
      async () => (await server.call('seen', 'edited')) === edited.count,
    );

    const b = await openDevice('b', address);
    await b.call('pull');
    await a.call('pull');
    const ofA = spread(records, conflictRecords, 'by a');
    await a.call('edit', ofA);
    await b.call('edit', { ...ofA, value: 'by b' });
    await measure(
      'conflicts',
      conflictRecords,
      b,
      async () => {
        await a.call('push');
        // What a push may find out it brings with the next rounds.
        for (const one of [b, a, b]) {
          await one.call('pull');
          await one.call('push');
        }
        await a.call('pull');
      },
      async () => {
        const onServer = await reads(server, ofA);
        const told = Math.max(await a.call('conflicts'), await b.call('conflicts'));
        const same =
          tally(await reads(a, ofA)) === tally(onServer) &&
          tally(await reads(b, ofA)) === tally(onServer);
        return {
          verified: onServer.every((value) => value === 'by a' || value === 'by b'),
          outcome: `${tally(onServer)} of ${onServer.length} on the server; ${
            same ? 'all devices agree' : 'devices show their own'
          }; ${told} shown to people`,
        };
      },
    );
  } finally {
    for (const device of devices) await device.end();
    await server.end();
    await rm(folder, { recursive: true, force: true });
  }
};
