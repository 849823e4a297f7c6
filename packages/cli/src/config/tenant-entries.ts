import path from 'node:path';

/** Most tenants of one configuration. */
export const tenantsMax = 256;
/** Longest name of a listed tenant: folders and streams are named by it. */
export const tenantNameLength = 63;

/** A tenant of a configuration that lists several. Paths are whole. */
export interface TenantEntry {
  readonly name: string;
  /** Names of the servers that serve it; undefined: every server does. */
  readonly servers?: readonly string[];
  readonly schema?: string;
  readonly folder?: string;
  readonly checkpoints?: string;
  readonly archive?: string;
  readonly device?: string;
}

/** What is wrong at a place of a configuration. */
export interface EntryProblem {
  readonly path: string;
  readonly message: string;
}

const pathNames = ['schema', 'folder', 'checkpoints', 'archive', 'device'] as const;
/** Names that some systems keep for devices: no folder may have them. */
const reserved = /^(con|prn|aux|nul|com\d|lpt\d)$/;

/** True when a listed tenant may have this name: folders of all systems and streams are named by it. */
export const isTenantName = (name: string): boolean =>
  /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(name) &&
  name.length <= tenantNameLength &&
  !reserved.test(name);

/** Names of tenants, in their order. */
export const tenantNames = (tenants: readonly TenantEntry[]): readonly string[] =>
  tenants.map(({ name }) => name);

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((one) => typeof one === 'string' && one !== '');

const readEntry = (
  given: unknown,
  at: string,
  base: string,
  problems: EntryProblem[],
): TenantEntry | undefined => {
  const entry = typeof given === 'string' ? { name: given } : given;
  const wrong = (place: string, message: string): undefined => {
    problems.push({ path: place, message });
    return undefined;
  };
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
    return wrong(at, 'expected a name, or an object with one');
  const held = entry as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(held))
    if (!['name', 'servers', ...pathNames].includes(key))
      wrong(`${at}.${key}`, 'there is no such setting of a tenant');
  const { name, servers } = held;
  if (typeof name !== 'string' || !isTenantName(name))
    return wrong(
      `${at}.name`,
      `expected at most ${tenantNameLength} small letters, digits and - inside`,
    );
  if (servers !== undefined && !isTexts(servers))
    return wrong(`${at}.servers`, 'expected a list of names of servers');
  const paths: Partial<Record<(typeof pathNames)[number], string>> = {};
  for (const key of pathNames) {
    const value = held[key];
    if (value === undefined) continue;
    if (typeof value !== 'string' || value === '') wrong(`${at}.${key}`, 'expected a path');
    else paths[key] = path.resolve(base, value);
  }
  return { name, ...(servers === undefined ? {} : { servers }), ...paths };
};

/** Reads the list of tenants, of a file or of a variable; tells every problem. */
export const readTenants = (
  given: unknown,
  base: string,
): { readonly tenants: readonly TenantEntry[]; readonly problems: readonly EntryProblem[] } => {
  const problems: EntryProblem[] = [];
  const list = typeof given === 'string' ? given.split(',').map((one) => one.trim()) : given;
  if (!Array.isArray(list) || list.length === 0 || list.length > tenantsMax)
    return {
      tenants: [],
      problems: [{ path: 'tenants', message: `expected a list of 1 to ${tenantsMax} tenants` }],
    };
  const tenants: TenantEntry[] = [];
  for (const [at, one] of (list as readonly unknown[]).entries()) {
    const entry = readEntry(one, `tenants[${at}]`, base, problems);
    if (entry === undefined) continue;
    if (tenants.some(({ name }) => name === entry.name))
      problems.push({ path: `tenants[${at}].name`, message: `${entry.name} is listed twice` });
    tenants.push(entry);
  }
  return { tenants, problems };
};
