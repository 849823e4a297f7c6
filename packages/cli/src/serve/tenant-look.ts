import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Desk, DeskStatus } from '../server/desk.js';
import type { LooseTables } from '../server/open-folder.js';
import type { Server } from '@tidemark/server';
import { endsWithin } from './bounded.js';

/** Longest time that one look at a tenant may take, ms: then it is shown without. */
export const lookMsMax = 5_000;
/** Time for which a look is used again, ms: many scrapers cost one. */
export const lookKeptMs = 2_000;

/** What metrics show of a tenant. */
export interface TenantLook {
  readonly tenant: string;
  readonly isReady: boolean;
  readonly status: DeskStatus | undefined;
  readonly health:
    | {
        readonly lagMessages: number;
        readonly replicas: number;
        readonly parked: number;
        readonly inputBytes: number | undefined;
        readonly inputBytesMax: number | undefined;
      }
    | undefined;
  readonly storeBytes: number | undefined;
}

const bytesBelow = async (folder: string): Promise<number> => {
  const entries = await readdir(folder, { withFileTypes: true });
  let bytes = 0;
  for (const entry of entries) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) bytes += await bytesBelow(file);
    // LevelDB removes files while they are counted.
    else if (entry.isFile())
      bytes += await stat(file).then(
        ({ size }) => size,
        () => 0,
      );
  }
  return bytes;
};

/** Looks at a served tenant; what cannot be had in time is left out. */
export const lookAt = async (
  tenant: string,
  served: { readonly server: Server<LooseTables>; readonly desk: Desk; readonly folder: string },
): Promise<TenantLook> => {
  let look: TenantLook = {
    tenant,
    isReady: false,
    status: undefined,
    health: undefined,
    storeBytes: undefined,
  };
  const work = async (): Promise<void> => {
    const status = await served.desk.status();
    look = { ...look, status, isReady: status.failure === null && served.server.isReady() };
    look = { ...look, storeBytes: await bytesBelow(path.join(served.folder, 'store')) };
    const { lagMessages, input, replicas } = await served.server.health();
    const health = {
      lagMessages,
      replicas: replicas.length,
      parked: replicas.reduce((sum, { parked }) => sum + parked, 0),
      inputBytes: input?.bytes,
      inputBytesMax: input === undefined || input.bytesMax < 0 ? undefined : input.bytesMax,
    };
    look = { ...look, health };
  };
  // A server that finds its place again answers nothing: the tenant is shown as not ready.
  await endsWithin(lookMsMax, work()).catch(() => {
    look = { ...look, isReady: false };
  });
  return look;
};
