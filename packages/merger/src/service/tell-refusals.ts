import { TidemarkError } from '@tidemark/model';
import type { Service } from '@tidemark/ports';
import type { ServerEvent } from './server-event.js';

/** Answers as before, and tells of each call that is refused, by ids and code. */
export const tellRefusals =
  (answer: Service['answer'], onEvent: (event: ServerEvent) => void): Service['answer'] =>
  async (caller, endpoint, body) => {
    try {
      return await answer(caller, endpoint, body);
    } catch (cause) {
      const { replica, user } = caller;
      const code = cause instanceof TidemarkError ? cause.code : 'invariant-violation';
      onEvent({ type: 'refused', replica, user, endpoint, code });
      throw cause;
    }
  };
