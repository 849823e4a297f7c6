import {
  decodeCustomization,
  destructiveChanges,
  isLeft,
  problemsError,
  type Customization,
} from '@tidemark/model';
import { ask } from './link-holder.js';
import type { RunContext } from './run-context.js';

/** What the replica does with a customization that the server announced. */
export type CustomizationPlan = 'apply' | 'foreground' | 'refuse';

/** Tells whether indexes are added to a table that exists: building them reads the whole table. */
const addsIndex = (before: Customization, after: Customization): boolean =>
  before.tables.some((table) => {
    const next = after.tables.find(({ id }) => id === table.id);
    return next?.indexes.some(({ name }) => !table.indexes.some((one) => one.name === name));
  });

/**
 * Decides on a customization. Additions apply in every run, with operations pending. What reads whole
 * tables waits for a foreground run. What removes or retypes something is refused for now.
 */
export const planCustomization = (
  before: Customization,
  after: Customization,
): CustomizationPlan => {
  if (destructiveChanges(before, after).length > 0) return 'refuse';
  return addsIndex(before, after) ? 'foreground' : 'apply';
};

/** Newest customization that the replica could not apply, as the status shows it. */
export interface WaitingCustomization {
  readonly version: number;
  readonly reason: 'foreground' | 'refused';
}

/**
 * Fetches and applies the newest customization, if the server has a newer one. Resolves with what still
 * waits, or null.
 */
export const customize = async (context: RunContext): Promise<WaitingCustomization | null> => {
  const { local, emit } = context.ports;
  const { customization } = local.schema();
  if (context.customizationVersion <= customization.version) return null;
  const { message } = await ask(
    context.links,
    'customization',
    { have: customization.version },
    context.signal,
  );
  if (message.json === null || message.version <= customization.version) return null;
  const decoded = decodeCustomization(message.json);
  if (isLeft(decoded)) throw problemsError('invalid-customization', decoded.left);
  const { version } = decoded.right;
  switch (planCustomization(customization, decoded.right)) {
    case 'refuse':
      emit({ type: 'customization', version, result: 'refused' });
      return { version, reason: 'refused' };
    case 'foreground':
      if (context.mode === 'background') {
        emit({ type: 'customization', version, result: 'waits' });
        return { version, reason: 'foreground' };
      }
      break;
    case 'apply':
  }
  await local.adoptCustomization(decoded.right);
  emit({ type: 'customization', version, result: 'applied' });
  return null;
};
