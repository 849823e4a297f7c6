import { readFile } from 'node:fs/promises';
import { destructiveChanges, type Customization, type Problem } from '@tidemark/model';
import { checkSchemaFile } from '../config/schema-file.js';
import type { Settings } from '../config/settings.js';
import { showFailure } from '../failure.js';
import { pause } from '../serve/bounded.js';

/** Time between two looks at the file of the schema, ms. */
export const schemaLookMs = 300;

/** What became of a change of the schema file. */
export type SchemaChange =
  | { readonly result: 'published'; readonly version: number }
  | { readonly result: 'same'; readonly version: number }
  /** The content changed under a version that is in force. */
  | { readonly result: 'needs-version'; readonly version: number; readonly next: number }
  | { readonly result: 'destructive'; readonly problems: readonly Problem[] }
  | { readonly result: 'invalid'; readonly problems: readonly Problem[] }
  | { readonly result: 'failed'; readonly code: string; readonly message: string };

/** Where a schema is published. */
export interface SchemaDesk {
  readonly customization: () => Customization;
  readonly publish: (customization: Customization) => Promise<void>;
}

/** Publishes what the file holds now, if it may. */
export const publishSchemaFile = async (
  settings: Settings,
  desk: SchemaDesk,
  mark: string,
): Promise<SchemaChange> => {
  try {
    const checked = await checkSchemaFile(settings, mark);
    if (!('customization' in checked)) return { result: 'invalid', problems: checked.problems };
    const next = checked.customization;
    const current = desk.customization();
    if (JSON.stringify(next) === JSON.stringify(current))
      return { result: 'same', version: current.version };
    const raised = { ...next, version: Math.max(next.version, current.version + 1) };
    const problems = destructiveChanges(current, raised);
    if (problems.length > 0) return { result: 'destructive', problems };
    if (raised.version !== next.version)
      return { result: 'needs-version', version: next.version, next: raised.version };
    await desk.publish(next);
    return { result: 'published', version: next.version };
  } catch (cause) {
    const { code, message } = showFailure(cause);
    return { result: 'failed', code, message };
  }
};

/**
 * Looks at the file of the schema until the signal fires, and publishes each change that devices take up as
 * they are. Editors write files in many ways, so its bytes are compared, at every look.
 */
export const watchSchemaFile = async (
  settings: Settings,
  desk: SchemaDesk,
  onChange: (change: SchemaChange) => void,
  signal: AbortSignal,
): Promise<void> => {
  const file = settings.needed('schema');
  const read = (): Promise<string | undefined> => readFile(file, 'utf8').catch(() => undefined);
  let seen = await read();
  for (let k = 1; !signal.aborted; k += 1) {
    await pause(schemaLookMs, signal);
    const text = await read();
    // A file that is not there is being written.
    if (signal.aborted || text === undefined || text === seen) continue;
    seen = text;
    onChange(await publishSchemaFile(settings, desk, `?look=${k}`));
  }
};
