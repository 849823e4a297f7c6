import { ActorCalls } from './actor-calls.js';
import type { Answer } from './actor.js';

interface Call {
  readonly id: number;
  readonly name: keyof ActorCalls;
  readonly args: readonly unknown[];
}

const actor = new ActorCalls();

const answer = async ({ id, name, args }: Call): Promise<Answer> => {
  try {
    const run = actor[name] as (...given: unknown[]) => unknown;
    return { id, result: await run.apply(actor, [...args]) };
  } catch (cause) {
    return { id, error: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) };
  }
};

process.on('message', (call: Call) => {
  void answer(call).then((done) => process.send?.(done));
});
