import path from 'node:path';
import { TidemarkError } from '@tidemark/model';

/** Kind of a setting: paths of a file are relative to the file, secrets are never shown. */
export type SettingKind = 'text' | 'path' | 'list' | 'count' | 'switch' | 'secret';

/** A setting with its name in `tidemark.config.*`, its variable and its flag. */
export interface Setting {
  readonly name: string;
  readonly kind: SettingKind;
  readonly variable: string;
  /** Undefined: no flag, as for secrets, which other users of the machine would see. */
  readonly flag?: string;
  readonly fallback?: string;
  readonly meaning: string;
}

/** Every setting. Flags win over variables, variables over the file. */
export const settings = [
  {
    name: 'tenant',
    kind: 'text',
    variable: 'TIDEMARK_TENANT',
    flag: '--tenant <name>',
    meaning: 'tenant to work on',
  },
  {
    name: 'schema',
    kind: 'path',
    variable: 'TIDEMARK_SCHEMA',
    flag: '--schema <file>',
    fallback: 'tidemark.schema.json',
    meaning: 'customization as JSON, or a module that exports `schema`',
  },
  {
    name: 'folder',
    kind: 'path',
    variable: 'TIDEMARK_FOLDER',
    flag: '--folder <path>',
    fallback: 'data/server',
    meaning: "the server's folder",
  },
  {
    name: 'user',
    kind: 'text',
    variable: 'TIDEMARK_USER',
    flag: '--user <name>',
    fallback: 'operator',
    meaning: 'user in whose name is written',
  },
  {
    name: 'checkpoints.folder',
    kind: 'path',
    variable: 'TIDEMARK_CHECKPOINTS',
    flag: '--checkpoints <path>',
    fallback: 'data/checkpoints',
    meaning: 'folder of checkpoints, on another disk if there is one',
  },
  {
    name: 'checkpoints.keep',
    kind: 'count',
    variable: 'TIDEMARK_CHECKPOINTS_KEEP',
    meaning: 'checkpoints that are kept',
  },
  {
    name: 'checkpoints.everyOps',
    kind: 'count',
    variable: 'TIDEMARK_CHECKPOINTS_EVERY_OPS',
    meaning: 'operations after which `serve` writes the next checkpoint',
  },
  {
    name: 'checkpoints.trimInput',
    kind: 'switch',
    variable: 'TIDEMARK_CHECKPOINTS_TRIM_INPUT',
    meaning: 'removes input that a checkpoint holds',
  },
  {
    name: 'nats.servers',
    kind: 'list',
    variable: 'TIDEMARK_NATS',
    flag: '--nats <urls>',
    meaning: 'addresses of NATS, with commas between them',
  },
  {
    name: 'nats.user',
    kind: 'text',
    variable: 'TIDEMARK_NATS_USER',
    meaning: 'user at NATS',
  },
  {
    name: 'nats.password',
    kind: 'secret',
    variable: 'TIDEMARK_NATS_PASSWORD',
    meaning: 'password at NATS',
  },
  {
    name: 'nats.token',
    kind: 'secret',
    variable: 'TIDEMARK_NATS_TOKEN',
    meaning: 'token at NATS',
  },
  {
    name: 'nats.credentials',
    kind: 'path',
    variable: 'TIDEMARK_NATS_CREDENTIALS',
    flag: '--nats-credentials <file>',
    meaning: 'credentials file of NATS',
  },
  {
    name: 'nats.ca',
    kind: 'path',
    variable: 'TIDEMARK_NATS_CA',
    flag: '--nats-ca <file>',
    meaning: 'certificates (PEM) that are trusted for NATS in place of those of the system',
  },
  {
    name: 'identity.folder',
    kind: 'path',
    variable: 'TIDEMARK_IDENTITY',
    flag: '--identity <path>',
    fallback: 'data/identity',
    meaning: 'folder with the keys of NATS, as `identity init` makes it',
  },
  {
    name: 'nats.streamBytesMax',
    kind: 'count',
    variable: 'TIDEMARK_NATS_STREAM_BYTES_MAX',
    meaning: 'bytes that the stream of the input may take',
  },
  {
    name: 'nats.replicas',
    kind: 'count',
    variable: 'TIDEMARK_NATS_REPLICAS',
    meaning: 'servers of the NATS cluster that store each message',
  },
  {
    name: 'nats.archive',
    kind: 'path',
    variable: 'TIDEMARK_NATS_ARCHIVE',
    meaning: 'folder for input that leaves the stream',
  },
  {
    name: 'nats.program',
    kind: 'text',
    variable: 'NATS_SERVER',
    meaning: 'program nats-server, looked for on the PATH when left out',
  },
  {
    name: 'nats.monitor',
    kind: 'text',
    variable: 'TIDEMARK_NATS_MONITOR',
    meaning: 'address of the monitoring of NATS, such as http://127.0.0.1:8222',
  },
  {
    name: 'device.folder',
    kind: 'path',
    variable: 'TIDEMARK_DEVICE',
    flag: '--device <path>',
    fallback: 'data/device',
    meaning: "the device's folder",
  },
  {
    name: 'device.file',
    kind: 'path',
    variable: 'TIDEMARK_DEVICE_FILE',
    flag: '--device-file <file>',
    meaning: 'what `enroll` wrote for the device: it takes the place of tenant, user and NATS',
  },
  {
    name: 'device.user',
    kind: 'text',
    variable: 'TIDEMARK_DEVICE_USER',
    meaning: 'user of the device; `user` when left out',
  },
] as const satisfies readonly Setting[];

/** Name of a setting. */
export type SettingName = (typeof settings)[number]['name'];
/** Where a value of a setting came from. */
export type SettingSource = 'flag' | 'variable' | 'file' | 'default';
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
};

const parsed = (kind: SettingKind, given: unknown, base: string): SettingValue | undefined => {
  const isText = typeof given === 'string' && given !== '';
  switch (kind) {
    case 'text':
    case 'secret':
      return isText ? given : undefined;
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

/** Settings that are in force, each with its source. */
export class Settings {
  readonly #held: ReadonlyMap<SettingName, Held>;

  private constructor(held: ReadonlyMap<SettingName, Held>) {
    this.#held = held;
  }

  /** Puts settings together. Throws `invalid-option` with every problem. */
  static of({ flags, env, file, cwd }: SettingInputs): Settings {
    const problems = unknownNames(file.values).map((name) => ({
      path: name,
      message: 'there is no such setting',
    }));
    const held = new Map<SettingName, Held>();
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
      const value = parsed(kind, given, base);
      if (value === undefined)
        problems.push({
          path: name,
          message: `expected ${expectations[kind]} (from the ${source})`,
        });
      else held.set(name, { value, source });
    }
    if (problems.length > 0)
      throw new TidemarkError(
        'invalid-option',
        problems.map((one) => `${one.path}: ${one.message}`).join('; '),
        { problems },
      );
    return new Settings(held);
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
