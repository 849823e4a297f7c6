import type { RecordId, RowFields, SchemaTable } from '@tidemark/model';
import type { PendingView } from './pending-view.js';

/** Record of a session: what its user sees, and the same on the staged image when it differs. */
export interface SessionRecord {
  readonly table: SchemaTable;
  readonly id: RecordId;
  view: PendingView | null;
  readonly before: RowFields | null;
  staged: { view: PendingView | null; readonly before: RowFields | null } | null;
  changed: boolean;
}
