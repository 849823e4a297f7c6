import { encodeEnvelope, fromHex, invariant, type Envelope } from '@tidemark/model';
import type { LogEntry } from '@tidemark/ports';
import type { RunContext } from './run-context.js';

/** Most bytes of transactions in one envelope; a single greater transaction travels alone. */
export const envelopePageBytesMax = 256 * 1024;
/** Envelopes that wait for the server's word at a time. */
export const envelopesInFlightMax = 4;

/** Entries of a page that begin at `from` or later and end at `target` or earlier. */
const within = (page: readonly LogEntry[], from: number, target: number): readonly LogEntry[] =>
  page.filter(({ index, opCount }) => index >= from && index + opCount - 1 <= target);

const envelopeOf = (
  context: RunContext,
  entries: readonly LogEntry[],
  headBefore: Uint8Array,
): Omit<Envelope, 'signature'> => {
  const { replica, epoch, user } = context.ports.local.meta();
  const first = entries[0];
  const last = entries[entries.length - 1];
  invariant(first !== undefined && last !== undefined, 'an envelope holds a transaction');
  return {
    replica,
    epoch,
    user,
    from: first.index,
    to: last.index + last.opCount - 1,
    offsetMs: context.offsetMs,
    headBefore,
    headAfter: last.head,
    transactions: entries.map(({ bytes }) => bytes),
  };
};

/**
 * Offers everything above the receipt, in order, in envelopes. Nothing is sent before it was fsynced and
 * `publishedTo` noted. Resolves with the number of operations that were offered.
 *
 * What was published before but is not merged yet travels again: duplicates have no effect.
 */
export const upload = async (context: RunContext): Promise<number> => {
  const { local } = context.ports;
  const { receipt, counters, target } = context;
  invariant(receipt !== null, 'uploading follows an agreement');
  if (receipt.mergedTo >= target) return 0;
  await local.markPublished(target);
  counters.operationsToUpload = target - receipt.mergedTo;
  context.moved();
  const link = context.links.link();
  const inFlight: Promise<void>[] = [];
  let from = receipt.mergedTo + 1;
  let head = fromHex(receipt.head);
  invariant(head?.length === 32, 'a receipt names its head');
  try {
    while (from <= target) {
      const entries = within(await local.readLog(from, envelopePageBytesMax), from, target);
      if (entries.length === 0) break;
      const unsigned = envelopeOf(context, entries, head);
      const signature = await context.links.identity.signEnvelope(unsigned);
      const envelope = { ...unsigned, signature };
      const bytes = encodeEnvelope(envelope);
      const sent = link.publish(bytes, context.signal).then(() => {
        counters.uploadedOperations += envelope.to - envelope.from + 1;
        counters.uploadedBytes += bytes.length;
        context.moved();
      });
      // Failures are met below, in order; without this a later one would be unhandled meanwhile.
      sent.catch(() => undefined);
      inFlight.push(sent);
      from = envelope.to + 1;
      head = envelope.headAfter;
      if (inFlight.length >= envelopesInFlightMax) await inFlight.shift();
    }
    for (let next = inFlight.shift(); next !== undefined; next = inFlight.shift()) await next;
  } finally {
    await Promise.allSettled(inFlight);
  }
  return target - receipt.mergedTo;
};
