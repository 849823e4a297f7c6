import { ActorParts } from './actor-calls.js';
import type { Answer } from './actor.js';

interface Call {
  readonly id: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

const parts = new ActorParts();

const answer = async ({ id, name, args }: Call): Promise<Answer> => {
  try {
    return { id, result: await parts.call(name, args) };
  } catch (cause) {
    return { id, error: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) };
  }
};

process.on('message', (call: Call) => {
  void answer(call).then((done) => process.send?.(done));
});
