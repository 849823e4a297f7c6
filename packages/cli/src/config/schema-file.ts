import {
  decodeCustomization,
  isLeft,
  problemsError,
  type Customization,
  type Problem,
} from '@tidemark/model';
import { readDefinition } from './load-settings.js';
import type { Settings } from './settings.js';

const customizationOf = (found: unknown): unknown =>
  // What `defineSchema` returns holds the customization.
  typeof found === 'object' && found !== null && 'customization' in found
    ? found.customization
    : found;

/** Customization of the schema file, or everything that is wrong with it. */
export const checkSchemaFile = async (
  settings: Settings,
  mark = '',
): Promise<
  | { readonly file: string; readonly customization: Customization; readonly problems: readonly [] }
  | { readonly file: string; readonly problems: readonly Problem[] }
> => {
  const file = settings.needed('schema');
  const found = await readDefinition(file, ['schema', 'customization', 'default'], mark);
  const decoded = decodeCustomization(customizationOf(found));
  return isLeft(decoded)
    ? { file, problems: decoded.left }
    : { file, customization: decoded.right, problems: [] };
};

/** Customization of the schema file. Rejects with `invalid-customization` and every problem. */
export const readSchemaFile = async (settings: Settings): Promise<Customization> => {
  const checked = await checkSchemaFile(settings);
  if ('customization' in checked) return checked.customization;
  throw problemsError('invalid-customization', checked.problems);
};
