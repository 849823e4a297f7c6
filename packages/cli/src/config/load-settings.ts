import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { TidemarkError } from '@tidemark/model';
import { jsonPlace } from './json-place.js';
import { Settings } from './settings.js';

/** Names under which a configuration is looked for in the current folder, in this order. */
export const configNames: readonly string[] = [
  'tidemark.config.json',
  'tidemark.config.mjs',
  'tidemark.config.js',
];

/** Where settings are looked for. */
export interface SettingsPlace {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags: Readonly<Record<string, unknown>>;
}

const isFile = async (file: string): Promise<boolean> => {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
};

const findFile = async (place: SettingsPlace): Promise<string | undefined> => {
  const given = place.flags['config'] ?? place.env['TIDEMARK_CONFIG'];
  if (typeof given === 'string') {
    const file = path.resolve(place.cwd, given);
    if (await isFile(file)) return file;
    throw new TidemarkError('invalid-option', `there is no configuration ${file}`, {
      option: 'config',
    });
  }
  for (const name of configNames) {
    const file = path.join(place.cwd, name);
    if (await isFile(file)) return file;
  }
  return undefined;
};

/** Reads JSON. Rejects with `invalid-option` and the place alone: the parser's own words cite the text. */
const readJson = async (file: string): Promise<unknown> => {
  const text = await readFile(file, 'utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch {
    const { line, column } = jsonPlace(text);
    throw new TidemarkError(
      'invalid-option',
      `${file} is no JSON from line ${line}, column ${column} on`,
      { line, column },
    );
  }
};

/** What a module says of itself when it cannot be loaded; names and texts of it may be secrets. */
const moduleReason = (cause: unknown): string => {
  if (cause instanceof SyntaxError || cause instanceof ReferenceError)
    return `${cause.name}; \`node --check\` or running it shows where`;
  return cause instanceof Error ? cause.message : String(cause);
};

/**
 * Reads JSON of a file, or what a module exports under one of some names. Rejects with `invalid-option`.
 * `mark`: a module that was read before under another mark is read again, without what it imports.
 */
export const readDefinition = async (
  file: string,
  exported: readonly string[],
  mark = '',
): Promise<unknown> => {
  try {
    if (file.endsWith('.json')) return await readJson(file);
    const module = (await import(pathToFileURL(file).href + mark)) as Readonly<
      Record<string, unknown>
    >;
    const name = exported.find((one) => module[one] !== undefined);
    if (name !== undefined) return module[name];
  } catch (cause) {
    if (cause instanceof TidemarkError) throw cause;
    const reason = moduleReason(cause);
    throw new TidemarkError('invalid-option', `${file} cannot be read: ${reason}`, {}, cause);
  }
  throw new TidemarkError('invalid-option', `${file} exports none of ${exported.join(', ')}`);
};

/** Settings in force, and the file that they came from, if any. */
export interface LoadedSettings {
  readonly settings: Settings;
  readonly file: string | undefined;
}

/** Loads the configuration file and puts variables and flags over it. Rejects with `invalid-option`. */
export const loadSettings = async (place: SettingsPlace): Promise<LoadedSettings> => {
  const file = await findFile(place);
  const values = file === undefined ? {} : await readDefinition(file, ['default', 'config']);
  if (typeof values !== 'object' || values === null || Array.isArray(values))
    throw new TidemarkError('invalid-option', `${file ?? ''} holds no object`);
  const settings = Settings.of({
    flags: place.flags,
    env: place.env,
    file: {
      values: values as Readonly<Record<string, unknown>>,
      base: file === undefined ? place.cwd : path.dirname(file),
    },
    cwd: place.cwd,
  });
  return { settings, file };
};
