import { TidemarkError } from '@tidemark/model';
import type { InputLog } from '@tidemark/ports';

/** The input for a server that only looks: what would begin a generation, as a new incarnation does, rejects. */
export const keptInput = (input: InputLog): InputLog => ({
  damage: input.damage,
  append: (messages) => input.append(messages),
  read: (after, bounds) => input.read(after, bounds),
  extent: () => input.extent(),
  hashAt: (position) => input.hashAt(position),
  startGeneration: () =>
    Promise.reject(
      new TidemarkError(
        'input-mismatch',
        'the input lacks what the server has folded: serving it goes on under a new incarnation, looking does not',
      ),
    ),
  trim: (position) => input.trim(position),
  ...(input.onGrown === undefined
    ? {}
    : { onGrown: (callback: () => void) => input.onGrown?.(callback) ?? (() => undefined) }),
  close: () => input.close(),
});
