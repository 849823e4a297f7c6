import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { SettingName, Settings } from './settings.js';

/** Folders that belong to one tenant alone. */
const ownFolders = [
  'folder',
  'checkpoints.folder',
  'nats.archive',
] as const satisfies SettingName[];

const isWithin = (inner: string, outer: string): boolean =>
  inner === outer || inner.startsWith(outer + path.sep);

/** Refuses folders that two tenants share or that lie within each other. Throws `invalid-option`. */
export const requireOwnFolders = (tenants: readonly Settings[]): void => {
  const taken: { readonly folder: string; readonly tenant: string; readonly setting: string }[] =
    [];
  for (const settings of tenants) {
    const tenant = settings.needed('tenant');
    for (const setting of ownFolders) {
      const folder = settings.text(setting);
      if (folder === undefined) continue;
      const other = taken.find(
        (one) =>
          one.tenant !== tenant && (isWithin(folder, one.folder) || isWithin(one.folder, folder)),
      );
      if (other !== undefined)
        throw new TidemarkError(
          'invalid-option',
          `${setting} of tenant ${tenant} and ${other.setting} of tenant ${other.tenant} share ${folder}: each tenant needs folders of its own`,
        );
      taken.push({ folder, tenant, setting });
    }
  }
};

/**
 * Settings of each tenant that this server serves: all of them, or those assigned to its name. Throws
 * `invalid-option` when tenants are assigned and this server has no name or no tenant.
 */
export const servedTenants = (settings: Settings): readonly Settings[] => {
  const { tenants } = settings;
  if (tenants === undefined) {
    settings.needed('tenant');
    return [settings];
  }
  requireOwnFolders(tenants.map(({ name }) => settings.forTenant(name)));
  const only = settings.sourceOf('tenant') === 'flag' ? settings.text('tenant') : undefined;
  if (only !== undefined) return [settings.forTenant(only)];
  const server = settings.text('server');
  if (server === undefined && tenants.some((one) => one.servers !== undefined))
    throw new TidemarkError(
      'invalid-option',
      'tenants are assigned to servers, and this one has no name: --server, TIDEMARK_SERVER or the setting server gives it',
      { option: 'server' },
    );
  const here = tenants.filter(
    ({ servers }) => servers === undefined || (server !== undefined && servers.includes(server)),
  );
  if (here.length === 0)
    throw new TidemarkError('invalid-option', `no tenant is assigned to server ${server ?? ''}`, {
      option: 'server',
    });
  return here.map(({ name }) => settings.forTenant(name));
};
