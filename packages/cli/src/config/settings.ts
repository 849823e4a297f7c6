import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import { settings } from './setting-list.js';
import type { Setting, SettingKind } from './setting.js';
import { readTenants, tenantNames, type TenantEntry } from './tenant-entries.js';

export { settings } from './setting-list.js';

/** Name of a setting. */
export type SettingName = (typeof settings)[number]['name'];
/** Where a value of a setting came from. */
export type SettingSource = 'flag' | 'variable' | 'file' | 'tenant' | 'default';
/** Value of a setting. */
export type SettingValue = string | number | boolean | readonly string[];

interface Held {
  readonly value: SettingValue;
  readonly source: SettingSource;
}

/** Setting as `config --show` tells it; a secret shows only that it is set. */
export interface ShownSetting {
  readonly name: string;
  readonly value: SettingValue | null;
  readonly source: SettingSource | null;
  readonly variable: string;
}

const expectations: Readonly<Record<SettingKind, string>> = {
  text: 'a text',
  path: 'a path',
  list: 'a list of texts',
  count: 'a whole number above 0',
  switch: 'true or false',
  secret: 'a text',
  choice: 'one of the words that the setting takes',
  tenants: 'a list of tenants',
};

const parsed = (
  { kind, choices }: Setting,
  given: unknown,
  base: string,
): SettingValue | undefined => {
  const isText = typeof given === 'string' && given !== '';
  switch (kind) {
    case 'text':
    case 'secret':
      return isText ? given : undefined;
    case 'choice':
      return isText && choices?.includes(given) === true ? given : undefined;
    case 'path':
      return isText ? path.resolve(base, given) : undefined;
    case 'list': {
      const list = isText ? given.split(',').map((one) => one.trim()) : given;
      return Array.isArray(list) &&
        list.length > 0 &&
        list.every((one) => typeof one === 'string' && one !== '')
        ? (list as string[])
        : undefined;
    }
    case 'count': {
      const number = isText ? Number(given) : given;
      return typeof number === 'number' && Number.isSafeInteger(number) && number > 0
        ? number
        : undefined;
    }
    case 'switch':
      if (typeof given === 'boolean') return given;
      return given === 'true' ? true : given === 'false' ? false : undefined;
    case 'tenants':
      // Taken apart by `readTenants`, which tells each problem by its place.
      return undefined;
  }
};

/** Key under which the parser of arguments keeps the flag of a setting. */
export const flagKey = (flag: string): string =>
  (flag.split(' ')[0] ?? '')
    .slice(2)
    .replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());

/** What settings are made of. `base` folders make relative paths whole. */
export interface SettingInputs {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file: { readonly values: Readonly<Record<string, unknown>>; readonly base: string };
  readonly cwd: string;
}

const fileValue = (values: Readonly<Record<string, unknown>>, name: string): unknown => {
  let at: unknown = values;
  for (const part of name.split('.')) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<string, unknown>)[part];
  }
  return at;
};

const groups: ReadonlySet<string> = new Set(
  settings.flatMap(({ name }) => (name.includes('.') ? [name.split('.')[0] ?? ''] : [])),
);
const names: ReadonlySet<string> = new Set(settings.map(({ name }) => name));

/** Names in a file that are no settings: mostly misspelt ones. */
const unknownNames = (values: Readonly<Record<string, unknown>>): readonly string[] =>
  Object.entries(values).flatMap(([key, value]) => {
    if (names.has(key) || key === '$schema') return [];
    if (!groups.has(key)) return [key];
    if (typeof value !== 'object' || value === null) return [key];
    return Object.keys(value)
      .map((inner) => `${key}.${inner}`)
      .filter((name) => !names.has(name));
  });

const onlyName = (tenants: readonly TenantEntry[] | undefined): string | undefined =>
  tenants?.length === 1 ? tenants[0]?.name : undefined;

/** Settings that are in force, each with its source. */
export class Settings {
  readonly #held: ReadonlyMap<SettingName, Held>;
  /** Tenants that the configuration lists; undefined when it is of one tenant only. */
  readonly tenants: readonly TenantEntry[] | undefined;

  private constructor(
    held: ReadonlyMap<SettingName, Held>,
    tenants: readonly TenantEntry[] | undefined,
  ) {
    this.#held = held;
    this.tenants = tenants;
  }

  /** Puts settings together. Throws `invalid-option` with every problem. */
  static of({ flags, env, file, cwd }: SettingInputs): Settings {
    const problems = unknownNames(file.values).map((name) => ({
      path: name,
      message: 'there is no such setting',
    }));
    const held = new Map<SettingName, Held>();
    let tenants: readonly TenantEntry[] | undefined;
    for (const setting of settings) {
      const { name, kind, variable } = setting;
      const flag = 'flag' in setting ? flags[flagKey(setting.flag)] : undefined;
      const variableValue = env[variable] === '' ? undefined : env[variable];
      const fallback = 'fallback' in setting ? setting.fallback : undefined;
      const tries: readonly (readonly [SettingSource, unknown, string])[] = [
        ['flag', flag, cwd],
        ['variable', variableValue, cwd],
        ['file', fileValue(file.values, name), file.base],
        ['default', fallback, file.base],
      ];
      const found = tries.find(([, given]) => given !== undefined);
      if (found === undefined) continue;
      const [source, given, base] = found;
      if (kind === 'tenants') {
        const read = readTenants(given, base);
        problems.push(...read.problems);
        tenants = read.tenants;
        held.set(name, { value: tenantNames(read.tenants), source });
        continue;
      }
      const value = parsed(setting, given, base);
      if (value === undefined)
        problems.push({
          path: name,
          message: `expected ${
            'choices' in setting ? setting.choices.join(' or ') : expectations[kind]
          } (from the ${source})`,
        });
      else held.set(name, { value, source });
    }
    if (problems.length > 0)
      throw new TidemarkError(
        'invalid-option',
        problems.map((one) => `${one.path}: ${one.message}`).join('; '),
        { problems },
      );
    return new Settings(held, tenants);
  }

  /**
   * Settings of one of the tenants: its folders take the place of those of the file, never of flags or
   * variables. Without a list these settings are of the one tenant already. Throws `invalid-option`.
   */
  forTenant(name = this.text('tenant') ?? onlyName(this.tenants)): Settings {
    if (this.tenants === undefined) return this;
    const entry = this.tenants.find((one) => one.name === name);
    if (entry === undefined)
      throw new TidemarkError(
        'invalid-option',
        name === undefined
          ? `--tenant names one of the tenants: ${tenantNames(this.tenants).join(', ')}`
          : `the configuration lists no tenant ${name}: \`tidemark tenant list\` shows them`,
        { option: 'tenant' },
      );
    const held = new Map(this.#held);
    held.set('tenant', { value: entry.name, source: 'tenant' });
    const folder = path.join(this.needed('tenantsFolder'), entry.name);
    const places: readonly (readonly [SettingName, string | undefined, string | undefined])[] = [
      ['schema', entry.schema, undefined],
      ['folder', entry.folder, path.join(folder, 'server')],
      ['checkpoints.folder', entry.checkpoints, path.join(folder, 'checkpoints')],
      ['nats.archive', entry.archive, this.text('nats.archive') && path.join(folder, 'archive')],
      ['device.folder', entry.device, path.join(folder, 'device')],
    ];
    for (const [setting, own, derived] of places) {
      const source = this.#held.get(setting)?.source;
      const value = own ?? derived;
      if (value !== undefined && source !== 'flag' && source !== 'variable')
        held.set(setting, { value, source: 'tenant' });
    }
    return new Settings(held, this.tenants);
  }

  /** Where a setting came from; undefined when it is not set. */
  sourceOf(name: SettingName): SettingSource | undefined {
    return this.#held.get(name)?.source;
  }

  /** Text or path of a setting; undefined when it is not set. */
  text(name: SettingName): string | undefined {
    const value = this.#held.get(name)?.value;
    return typeof value === 'string' ? value : undefined;
  }

  /** Text of a setting that has a default or must be given. Throws `invalid-option`. */
  needed(name: SettingName): string {
    const value = this.text(name);
    if (value !== undefined) return value;
    const variable = settings.find((one) => one.name === name)?.variable ?? '';
    throw new TidemarkError(
      'invalid-option',
      `${name} is not set: put it into tidemark.config.json (\`tidemark init\` writes one), ${variable} or a flag`,
      { option: name },
    );
  }

  /** List of a setting; undefined when it is not set. */
  list(name: SettingName): readonly string[] | undefined {
    const value = this.#held.get(name)?.value;
    return Array.isArray(value) ? (value as readonly string[]) : undefined;
  }

  /** Number of a setting; undefined when it is not set. */
  count(name: SettingName): number | undefined {
    const value = this.#held.get(name)?.value;
    return typeof value === 'number' ? value : undefined;
  }

  /** Whether a switch is on. */
  isOn(name: SettingName): boolean {
    return this.#held.get(name)?.value === true;
  }

  /** All settings as they may be shown. */
  shown(): readonly ShownSetting[] {
    return settings.map(({ name, kind, variable }) => {
      const held = this.#held.get(name);
      if (held === undefined) return { name, value: null, source: null, variable };
      return {
        name,
        value: kind === 'secret' ? '(set, not shown)' : held.value,
        source: held.source,
        variable,
      };
    });
  }
}
