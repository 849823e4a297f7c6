import { invariant, TidemarkError } from '@tidemark/model';
import { checkOfThisLog, noteReceipt, resume } from './agree-on-log.js';
import { abortSource } from './abort-source.js';
import { firstPoints } from './log-heads.js';
import type { RunContext } from './run-context.js';

/** Most questions for a receipt in a row that learn of nothing merged: a busy server ticks for others too. */
export const receiptQuestionsMax = 64;

const askReceipt = async (context: RunContext): Promise<boolean> => {
  const { local } = context.ports;
  const answer = await resume(context, await firstPoints(local, context.target));
  if (answer.status !== 'ok')
    throw new TidemarkError('behind', 'the log must be agreed on again', { status: answer.status });
  await checkOfThisLog(context, answer.receipt);
  await noteReceipt(context, answer.receipt);
  return answer.receipt.mergedTo >= context.target;
};

/**
 * Waits until the receipt covers what was uploaded, while no more than `timeoutMs` pass in which nothing more
 * is merged; with 0 it only looks at what is known. Resolves with whether it does.
 *
 * Each question that lengthens the wait has learned of another merged operation: the wait ends.
 */
export const awaitReceipt = async (context: RunContext, timeoutMs: number): Promise<boolean> => {
  const { clock } = context.ports;
  const { receipt } = context;
  invariant(receipt !== null, 'a receipt follows an agreement');
  if (receipt.mergedTo >= context.target) return true;
  if (timeoutMs <= 0) return false;
  let until = clock.nowMs() + timeoutMs;
  let merged = receipt.mergedTo;
  let questions = 0;
  const isCovered = async (): Promise<boolean> => {
    questions += 1;
    if (await askReceipt(context)) return true;
    const { mergedTo } = context.receipt ?? receipt;
    if (mergedTo > merged) {
      merged = mergedTo;
      questions = 0;
      until = clock.nowMs() + timeoutMs;
    }
    return false;
  };
  while (questions < receiptQuestionsMax && !context.signal.aborted) {
    const left = Math.min(timeoutMs, until - clock.nowMs());
    if (left <= 0) return false;
    const waiting = abortSource(context.signal);
    // The wait begins before the question, so that no tick is missed in between.
    const tick = context.links
      .link()
      .waitForTick(left, waiting.signal)
      .catch(() => false);
    try {
      if (await isCovered()) return true;
      // A tick may have been lost: the end of a wait is a reason to ask, too.
      if (!(await tick) && !context.signal.aborted && (await isCovered())) return true;
    } finally {
      waiting.abort();
      waiting.release();
      await tick;
    }
  }
  return false;
};
