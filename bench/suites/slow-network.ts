import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { natsTransport, openReplica } from '@tidemark/node';
import { Actor } from '../harness/actor.js';
import { contactAt, contactId, schema } from '../harness/crm.js';
import { openSlowLink } from '../harness/slow-link.js';
import type { Suite } from '../harness/suite.js';

const recordsDefault = 20_000;
const tenant = 'bench-slow-network';
/** 20 Mbit/s. */
const bytesPerSecond = 2_500_000;
/** One way: a round trip takes twice as long. */
const delayMs = 50;
const mb = 1024 * 1024;
/** Records of which the values are compared. */
const compared = 200;

/** A first sync over a slow and far link: its floor is what the link needs for the bytes that travelled. */
export const slowNetwork: Suite = {
  name: 'slow-network',
  run: async (bench) => {
    const { natsUrl, records = recordsDefault } = bench.options;
    // Without NATS there is no link to slow down.
    if (natsUrl === undefined) return;
    const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-bench-slow-'));
    const server = new Actor();
    const link = await openSlowLink({ target: natsUrl, bytesPerSecond, delayMs });
    let devices = 0;
    let bytes = 0;
    const firstSync = async (compression: 'auto' | 'never') => {
      devices += 1;
      const transport = natsTransport({ servers: [link.url] });
      const replica = await openReplica({
        ...{ folder: path.join(folder, `device-${devices}`), tenant, user: 'device' },
        ...{ schema, transport, compression },
      });
      const before = { cpu: process.cpuUsage(), server: await server.call('usage') };
      const started = performance.now();
      const log = await replica.sync();
      const seconds = (performance.now() - started) / 1_000;
      const cpu = process.cpuUsage(before.cpu);
      const after = await server.call('usage');
      bytes = log.downloadedBytes;
      let verified =
        log.result === 'synced' &&
        (await replica.fingerprint('contacts')) === (await server.call('serverFingerprint'));
      for (let i = 0; i < records; i += Math.max(1, Math.floor(records / compared)))
        verified &&=
          (await replica.get('contacts', contactId(i)))?.['email'] === contactAt(i).email;
      await replica.close();
      await transport.disconnect();
      const rounded = (value: number): number => Math.round(value * 100) / 100;
      return {
        ...{ seconds, verified, wireBytes: bytes },
        peakRssMb: {
          device: Math.round(process.resourceUsage().maxRSS / 1_024),
          server: after.peakRssMb,
        },
        cpuSeconds: {
          device: rounded((cpu.user + cpu.system) / 1e6),
          server: rounded(after.cpuSeconds - before.server.cpuSeconds),
          nats: null,
        },
        settings: {
          compression,
          megabitsPerSecond: (bytesPerSecond * 8) / 1e6,
          roundTripMs: 2 * delayMs,
          wireMb: Number((bytes / mb).toFixed(2)),
          pages: log.pages,
        },
      };
    };
    try {
      const place = { folder: path.join(folder, 'server'), tenant, natsUrl, data: 'crm' } as const;
      await server.call('openServer', place);
      await server.call('import', 0, records);
      for (const [name, compression] of [
        ['compressed', 'auto'],
        ['never', 'never'],
      ] as const)
        await bench.measure(
          { case: name, records, moved: records },
          {
            sample: () => firstSync(compression),
            floor: () => Promise.resolve(bytes / bytesPerSecond),
          },
        );
    } finally {
      await server.end();
      await link.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};
