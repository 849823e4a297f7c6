import path from 'node:path';
import { openServer } from '@tidemark/server';
import { Child } from './child.js';
import type { FirstSyncSaying } from './first-sync.js';
import { serveChannel } from './ipc-transport.js';
import { placeRows, placesSchema, tenant } from './places.js';
import { buildProgram } from './program.js';
import type { ImportSaying } from './row-import.js';

/** What a device said after its first sync, and the fingerprint of its server. */
export interface FirstSyncMeasure {
  readonly saying: FirstSyncSaying;
  readonly fingerprint: string;
}

/** Fills a server of this process with rows and a device of another one from it. */
export const measureFirstSync = async (folder: string, rows: number): Promise<FirstSyncMeasure> => {
  const program = await buildProgram('first-sync');
  const server = await openServer({
    folder: path.join(folder, 'server'),
    tenant,
    schema: placesSchema,
  });
  try {
    await server.write(placeRows(rows), { user: 'office' });
    const child = new Child<FirstSyncSaying>(program, [path.join(folder, 'device')]);
    serveChannel(child.channel, server.transport);
    const saying = await child.hear('filled');
    await child.gone;
    if (saying === undefined) throw new Error(`the device ended: ${child.errorText}`);
    return { saying, fingerprint: await server.fingerprint('places') };
  } finally {
    await server.close();
  }
};

/** What a server said at the end of its import, and its peak in MB after so many rows. */
export interface ImportMeasure {
  readonly imported: Extract<ImportSaying, { readonly say: 'imported' }>;
  readonly after: (rows: number) => number;
}

/** Writes rows to a server in another process. */
export const measureImport = async (
  folder: string,
  rows: number,
  endsAtMs = Number.POSITIVE_INFINITY,
): Promise<ImportMeasure> => {
  const program = await buildProgram('row-import');
  const child = new Child<ImportSaying>(
    program,
    [path.join(folder, 'server'), String(rows)],
    // Node 24 lets its young generation grow beyond the 16 MB per half of Node 20 and 22: 110 MB more.
    ['--max-semi-space-size=16'],
  );
  const silenceMs = Math.min(endsAtMs - Date.now(), 600_000);
  const imported = await child.hear('imported', Math.max(1_000, silenceMs));
  await child.gone;
  if (imported === undefined) throw new Error(`the server ended: ${child.errorText}`);
  return {
    imported,
    after: (wanted) =>
      child.heard.reduce(
        (peak, one) => (one.say === 'progress' && one.rows <= wanted ? one.peakMb : peak),
        0,
      ),
  };
};
