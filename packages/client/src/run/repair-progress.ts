import type { RecordId } from '@tidemark/model';
import type { ReplicaMeta } from '../local/replica-meta.js';

/** Where a repair stands; kept with the staging so that a restart goes on there. */
export interface RepairProgress {
  readonly done: boolean;
  /** Position in the list of tables. */
  readonly table: number;
  readonly after: RecordId | null;
}

const start: RepairProgress = { done: false, table: 0, after: null };

/** Progress of the staging under way. */
export const progressOf = (meta: ReplicaMeta): RepairProgress =>
  meta.staging === null || meta.staging.progress === ''
    ? start
    : (JSON.parse(meta.staging.progress) as RepairProgress);

/** True while a comparison was begun and is not finished. */
export const repairIsUnderWay = (meta: ReplicaMeta): boolean =>
  meta.staging?.kind === 'repair' && !progressOf(meta).done;
