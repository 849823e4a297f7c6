import { TidemarkError } from '@tidemark/model';
import type { AppendOutcome, InputLog, InputPosition } from '@tidemark/ports';
import { TurnQueue } from './turn-queue.js';

/** Bytes that may wait for the input at once; more is refused until some are stored. */
export const waitingInputBytesMax = 64 * 1024 * 1024;
/** Bytes that one append takes at most, unless a single message is longer. */
export const appendBytesMax = 8 * 1024 * 1024;
/** Messages that one append takes at most. */
export const appendMessagesMax = 4_096;

/** Appends messages to the input; those that wait together share one durable append. */
export interface InputWriter {
  /**
   * Resolves with the message's position once it is durable. Rejects with the failure of this message, whatever
   * became of the others that shared its append; with `storage-unavailable` when too much waits.
   */
  readonly append: (message: Uint8Array) => Promise<InputPosition>;
  /** Runs work while nothing is appended; what comes meanwhile is appended after it. */
  readonly alone: <A>(work: () => Promise<A>) => Promise<A>;
  /** Resolves when nothing is in flight. */
  readonly idle: () => Promise<void>;
}

interface Waiting {
  readonly message: Uint8Array;
  readonly resolve: (position: InputPosition) => void;
  readonly reject: (cause: unknown) => void;
}

const settle = ({ resolve, reject }: Waiting, outcome: AppendOutcome): void => {
  if (outcome.tag === 'stored') resolve(outcome.position);
  else reject(outcome.error);
};

/** Builds a writer; `onAppended` is called after each append. */
export const createInputWriter = (input: InputLog, onAppended: () => void): InputWriter => {
  let waiting: Waiting[] = [];
  let waitingBytes = 0;
  let running: Promise<void> | null = null;
  const turns = new TurnQueue();

  const take = (): readonly Waiting[] => {
    let bytes = 0;
    let count = 0;
    while (count < waiting.length && count < appendMessagesMax) {
      bytes += (waiting[count] as Waiting).message.length;
      if (count > 0 && bytes > appendBytesMax) break;
      count += 1;
    }
    const taken = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return taken;
  };
  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const taken = take();
      try {
        const outcomes = await turns.run(() => input.append(taken.map(({ message }) => message)));
        taken.forEach((one, i) => settle(one, outcomes[i] as AppendOutcome));
        onAppended();
      } catch (cause) {
        for (const { reject } of taken) reject(cause);
      }
      for (const { message } of taken) waitingBytes -= message.length;
    }
  };
  const start = (): void => {
    running ??= run().finally(() => {
      running = null;
      // What came between the loop's last look and its end must not be left behind.
      if (waiting.length > 0) start();
    });
  };
  return {
    append: (message) => {
      if (waitingBytes + message.length > waitingInputBytesMax)
        return Promise.reject(
          new TidemarkError('storage-unavailable', 'too much waits for the input', {
            bytes: waitingBytes,
          }),
        );
      waitingBytes += message.length;
      return new Promise((resolve, reject) => {
        waiting.push({ message, resolve, reject });
        start();
      });
    },
    alone: (work) => turns.run(work),
    idle: async () => {
      while (running !== null) await running;
    },
  };
};
