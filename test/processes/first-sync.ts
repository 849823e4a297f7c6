// A device that downloads everything from its parent, once: folder of its data.
import { openReplica, type SyncLog } from '@tidemark/node';
import { sayToParent } from './child.js';
import { channelTransport } from './ipc-transport.js';
import { peakMemoryMb } from './peak-memory.js';
import { placesSchema, tenant } from './places.js';

/** What the device says when it has everything. */
export interface FirstSyncSaying {
  readonly say: 'filled';
  readonly log: SyncLog;
  /** Before the run and after it. */
  readonly peakMbBefore: number;
  readonly peakMb: number;
  readonly ms: number;
  readonly fingerprint: string;
  readonly synced: boolean;
}

const [folder = ''] = process.argv.slice(2);
const replica = await openReplica({
  folder,
  tenant,
  user: 'ana',
  schema: placesSchema,
  transport: channelTransport(process),
});
const peakMbBefore = peakMemoryMb();
const started = performance.now();
const log = await replica.sync();
const ms = performance.now() - started;
const peakMb = peakMemoryMb();
const saying: FirstSyncSaying = {
  say: 'filled',
  log,
  peakMbBefore,
  peakMb,
  ms,
  fingerprint: await replica.fingerprint('places'),
  synced: replica.status.synced,
};
await replica.close();
await sayToParent(saying);
process.disconnect();
