import { readFile } from 'node:fs/promises';
import { servedTenants } from '../config/served-tenants.js';
import type { Settings } from '../config/settings.js';
import { showFailure } from '../failure.js';
import { pause } from './bounded.js';
import type { ServerLog } from './server-log.js';

/** Time between two looks at the configuration for tenants that were added, ms. */
export const tenantLookMs = 1_000;

/** Where tenants are looked for. */
export interface TenantWatchOptions {
  /** Configuration of the server; undefined where there is none. */
  readonly file: string | undefined;
  readonly load: () => Promise<{ readonly settings: Settings }>;
  readonly log: ServerLog;
}

/**
 * Looks at the configuration until the signal fires; gives the settings of tenants that this server is to serve
 * and does not know yet. A configuration that is a program is read at the start only. Tenants that left the list
 * are served until the server ends: that is told once.
 */
export async function* watchTenants(
  { file, load, log }: TenantWatchOptions,
  known: ReadonlySet<string>,
  signal: AbortSignal,
): AsyncGenerator<readonly Settings[]> {
  if (file === undefined || !file.endsWith('.json')) return;
  const read = (): Promise<string | undefined> => readFile(file, 'utf8').catch(() => undefined);
  const left = new Set<string>();
  let seen = await read();
  while (!signal.aborted) {
    await pause(tenantLookMs, signal);
    const text = await read();
    // A file that is not there is being written.
    if (signal.aborted || text === undefined || text === seen) continue;
    seen = text;
    let served: readonly Settings[];
    try {
      served = servedTenants((await load()).settings);
    } catch (cause) {
      const { code, message } = showFailure(cause);
      log.tell(
        'warn',
        'configuration-refused',
        { code, message },
        () => `the configuration changed and cannot be used, so nothing changes: ${message}`,
      );
      continue;
    }
    const names = new Set(served.map((settings) => settings.needed('tenant')));
    for (const tenant of known) {
      if (names.has(tenant) || left.has(tenant)) continue;
      left.add(tenant);
      log.tell(
        'warn',
        'tenant-left',
        { tenant },
        () => `${tenant} is no longer assigned here: it is served until this server ends`,
      );
    }
    yield served.filter((settings) => !known.has(settings.needed('tenant')));
  }
}
