import { decide, type Decision } from '@tidemark/merge';
import { printOpId, resolutionsTable } from '@tidemark/model';
import { mergeContext, type AuthorView } from './author-view.js';
import { buildsOnParked, correct, correctableRoot, type Correction } from './correct.js';
import { queueResolutions, refusalOf, resolutionOf } from './decide-member.js';
import type { OpenedTransaction } from './open-envelope.js';
import { park, parkPoison, syncErrorOf, writeSyncError, type ParkedOrigin } from './parking.js';
import { resolve } from './resolve.js';
import type { Window } from './window.js';

/** Times of an envelope that its transactions share. */
export interface EnvelopeTimes {
  readonly receivedAt: number;
  readonly offsetMs: number;
}

/** Ledger entries of a decision whose operations stand for themselves. */
export const noteDecision = (
  window: Window,
  decision: Decision,
  author: { readonly replica: string; readonly epoch: number; readonly user: string },
  decider: string,
): void => {
  const { replica, epoch, user } = author;
  for (const { index, table, record, outcome, fields } of decision.operations) {
    const op = printOpId({ replica, epoch, index });
    window.note(table, { op, user, record, outcome, fields, decider });
  }
};

/** Carries out the resolutions that the version under way has brought, and those that these release. */
export const runResolutions = async (window: Window): Promise<void> => {
  // Each transaction that waits is released once, so the queue ends.
  for (let next = window.resolutions.shift(); next; next = window.resolutions.shift()) {
    const { id, replica } = next;
    const { record, resolution } = resolutionOf(window, id);
    const resolver = { by: replica.user, id, replica };
    const verdict =
      resolution === undefined ? 'invalid' : await resolve(window, resolver, resolution);
    const fields = { ...record.row.fields, 5: verdict };
    window.write(resolutionsTable, id, { ...record, row: { ...record.row, fields } });
  }
};

const decideAlone = async (
  window: Window,
  view: AuthorView,
  { transaction, first, origin }: Correction,
  payload: Uint8Array,
  /** Root of which the transaction failed to be the correction: what builds on it waits there in any case. */
  failedRoot: string | undefined,
): Promise<void> => {
  const author = view.author(origin.epoch, first);
  const asked = refusalOf(window, transaction, author);
  // An await per transaction is felt where there is no hook.
  const refusal = asked === null || typeof asked === 'string' ? asked : await asked;
  const context = mergeContext(window, author, origin, { refusal });
  const decision = decide(view.reader(), transaction, context);
  window.apply(decision, origin.replica, view.state.origin !== null);
  noteDecision(window, decision, origin, 'merge');
  if (decision.parks.length > 0) {
    const all = transaction.ops.map((_, i) => first + i);
    for (const one of decision.parks) {
      const builds = one.ops.some((index) => {
        const prev = transaction.ops[index - first]?.prev ?? 0;
        return prev > 0 && view.parkedUnder(index - prev) === failedRoot;
      });
      const dependent = failedRoot !== undefined && builds && !one.dependent;
      const asked = dependent ? { ...one, root: failedRoot, dependent } : one;
      await park(window, origin, asked, all, transaction, payload);
    }
  }
  queueResolutions(window, view, decision);
};

/** Decides one transaction of an envelope at the next version. */
export const decideDeviceTransaction = async (
  window: Window,
  view: AuthorView,
  opened: OpenedTransaction,
  epoch: number,
  times: EnvelopeTimes,
): Promise<void> => {
  window.begin();
  window.operations += opened.opCount;
  const { transaction } = opened;
  const origin: ParkedOrigin = {
    author: 'device',
    replica: view.state.replica,
    epoch,
    user: view.state.user,
    schemaVersion: transaction?.schemaVersion ?? 0,
    receivedAt: times.receivedAt,
    offsetMs: times.offsetMs,
    foreignModifiedOn: null,
  };
  if (transaction === undefined) {
    const indexes = Array.from({ length: opened.opCount }, (_, i) => opened.first + i);
    const op = printOpId({ ...origin, index: opened.first });
    const { user } = origin;
    const rejected = { outcome: 'rejected', fields: [], decider: 'merge' } as const;
    window.note(0, { op, user, record: '', ...rejected });
    await parkPoison(window, origin, indexes, opened.problem, opened.stored);
  } else {
    const edit = { transaction, first: opened.first, origin };
    const waits = buildsOnParked(view, edit);
    const root = waits ? await correctableRoot(window, view, edit) : undefined;
    const corrected = root !== undefined && (await correct(window, view, root, edit));
    if (corrected) {
      const row = syncErrorOf(window, root);
      const resolved = {
        state: 'resolved',
        disposition: 'applied',
        resolvedBy: origin.user,
      } as const;
      if (row !== undefined) writeSyncError(window, { ...row, ...resolved }, origin.user);
    } else await decideAlone(window, view, edit, opened.payload, root);
    if (window.resolutions.length > 0) await runResolutions(window);
  }
  window.finish();
};
