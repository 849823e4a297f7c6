import type { RunContext } from './run-context.js';

/** Bounded steps of folding in one run; what remains is left to the next. */
export const foldStepsMax = 64;

/** Last transaction end at or below what is archived, below everything pending or open. */
const trimmable = async (context: RunContext): Promise<number> => {
  const { local } = context.ports;
  const { archivedTo, mergedTo } = local.meta();
  const [first] = await local.pending({ limit: 1 });
  const upTo = Math.min(archivedTo, mergedTo, (first?.index ?? Infinity) - 1);
  if (upTo < local.logStart()) return 0;
  const [entry] = await local.readLog(upTo, 1);
  if (entry === undefined) return 0;
  return entry.index + entry.opCount - 1 <= upTo ? upTo : entry.index - 1;
};

/** Folds layers and trims the log up to what is archived; pending and open operations stay. Damage is repaired. */
export const cleanUp = async (context: RunContext): Promise<void> => {
  const { local } = context.ports;
  await local.forgetDamage();
  const upTo = await trimmable(context);
  if (upTo >= local.logStart()) await local.trimLog(upTo);
  for (let step = 0; step < foldStepsMax && !context.signal.aborted; step += 1)
    if (await local.fold(1)) return;
};
