import { readFile } from 'node:fs/promises';
import { TidemarkError } from '@tidemark/model';
import { writeWhole } from '../state-file.js';
import { settings as allSettings } from './setting-list.js';
import { isTenantName, tenantNameLength } from './tenant-entries.js';

/** Entry of a tenant as a file holds it. */
export type FileEntry = Readonly<Record<string, unknown>> & { readonly name: string };

type FileValues = Readonly<Record<string, unknown>>;

const fallbackOf = (name: string): string | undefined => {
  const found = allSettings.find((one) => one.name === name);
  return found !== undefined && 'fallback' in found ? found.fallback : undefined;
};

const groupOf = (values: FileValues, name: string): FileValues => {
  const group = values[name];
  return typeof group === 'object' && group !== null ? (group as FileValues) : {};
};

/** Throws `invalid-option` for a name that no listed tenant may have. */
export const requireTenantName = (name: string): void => {
  if (isTenantName(name)) return;
  throw new TidemarkError(
    'invalid-option',
    `${JSON.stringify(name)} cannot be listed: a tenant is named by at most ${tenantNameLength} small letters and digits, with - between them`,
    { option: 'tenant' },
  );
};

const entriesOf = (values: FileValues): readonly FileEntry[] | undefined => {
  const { tenants } = values;
  if (!Array.isArray(tenants)) return undefined;
  return (tenants as readonly unknown[]).map((one) =>
    typeof one === 'string' ? { name: one } : (one as FileEntry),
  );
};

/** The tenant of a file without a list, with the folders that it has there, so that nothing moves. */
const ownEntry = (values: FileValues): FileEntry | undefined => {
  const { tenant } = values;
  if (typeof tenant !== 'string') return undefined;
  requireTenantName(tenant);
  const checkpoints = groupOf(values, 'checkpoints')['folder'] ?? fallbackOf('checkpoints.folder');
  const device = groupOf(values, 'device')['folder'] ?? fallbackOf('device.folder');
  const archive = groupOf(values, 'nats')['archive'];
  return {
    name: tenant,
    folder: values['folder'] ?? fallbackOf('folder'),
    checkpoints,
    device,
    ...(archive === undefined ? {} : { archive }),
  };
};

/** Values of a file with a list of tenants; its one tenant is the first of the list. */
const withList = (values: FileValues): FileValues & { readonly tenants: readonly FileEntry[] } => {
  const tenants = entriesOf(values);
  if (tenants !== undefined) return { ...values, tenants };
  const own = ownEntry(values);
  if (own === undefined) return { ...values, tenants: [] };
  const nats = groupOf(values, 'nats');
  const folder = typeof own['folder'] === 'string' ? own['folder'] : '';
  return {
    ...values,
    tenants: [own],
    // The tenants share the nats-server that this one has, so that its input stays where it is.
    ...(nats['servers'] === undefined && nats['folder'] === undefined
      ? { nats: { ...nats, folder: `${folder}.nats` } }
      : {}),
  };
};

const readFileValues = async (file: string | undefined, hint: string): Promise<FileValues> => {
  if (file === undefined)
    throw new TidemarkError(
      'invalid-option',
      'there is no configuration: `tidemark init` writes one',
    );
  if (!file.endsWith('.json'))
    throw new TidemarkError(
      'invalid-option',
      `${file} is a program, so change it by hand: ${hint}`,
    );
  return JSON.parse(await readFile(file, 'utf8')) as FileValues;
};

const writeFileValues = (file: string, values: FileValues): Promise<void> =>
  writeWhole(file, `${JSON.stringify(values, null, 2)}\n`);

/** Adds a tenant to the list of a configuration file. Rejects with `invalid-option`. */
export const addToFile = async (file: string | undefined, entry: FileEntry): Promise<void> => {
  requireTenantName(entry.name);
  const values = await readFileValues(file, `add ${JSON.stringify(entry)} to its tenants`);
  const listed = withList(values);
  if (listed.tenants.some(({ name }) => name === entry.name))
    throw new TidemarkError('invalid-option', `the tenant ${entry.name} is there already`, {
      option: 'tenant',
    });
  await writeFileValues(file ?? '', { ...listed, tenants: [...listed.tenants, entry] });
};

/**
 * Takes a tenant off the list of a configuration file; false when it is the only one, which stays. Rejects
 * with `invalid-option`.
 */
export const removeFromFile = async (file: string | undefined, name: string): Promise<boolean> => {
  const values = await readFileValues(file, `take ${name} off its tenants`);
  const tenants = entriesOf(values);
  if (tenants === undefined || tenants.length === 1) return false;
  const rest = tenants.filter((one) => one.name !== name);
  const { tenant, ...others } = values;
  const kept = tenant === name ? others : values;
  await writeFileValues(file ?? '', { ...kept, tenants: rest });
  return true;
};
