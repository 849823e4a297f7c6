import { defineSchema, field } from '@tidemark/node';

/** Schema of the programs that are killed: records of the device, and a counter that all share. */
export const schema = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1,
      indexes: { bySubject: ['subject'] },
      fields: {
        subject: field.string(1, { required: true }),
        count: field.counter(2),
        note: field.text(3),
      },
    },
    tally: { id: 2, fields: { total: field.counter(1), label: field.string(2) } },
  },
});

export const tenant = 'acme';
/** Record of `tally` that everybody counts in. */
export const tallyId = 'shared';
/** The server counts in steps of this size, devices in smaller ones: one sum shows both. */
export const serverStep = 1_000_000;

/** One edit of a device, as it is told to the parent before it begins and after it was promised. */
export type Edit =
  | { readonly kind: 'create'; readonly id: string; readonly subject: string }
  | { readonly kind: 'update'; readonly id: string; readonly subject: string }
  /** Adds to the record and to the tally, in one transaction. */
  | { readonly kind: 'count'; readonly id: string; readonly by: number }
  | { readonly kind: 'note'; readonly id: string; readonly text: string }
  | { readonly kind: 'delete'; readonly id: string };

/** What a device shows of a visit. */
export interface Visit {
  readonly id: string;
  readonly subject: string;
  readonly count: number;
  readonly note: string;
}

/** What a device has: its visits, and what it added to the tally. */
export interface DeviceState {
  readonly visits: ReadonlyMap<string, Visit>;
  readonly counted: number;
}

/** State of a device that has nothing. */
export const emptyState: DeviceState = { visits: new Map(), counted: 0 };

/** State after an edit. */
export const applyEdit = ({ visits, counted }: DeviceState, edit: Edit): DeviceState => {
  const next = new Map(visits);
  if (edit.kind === 'create') {
    next.set(edit.id, { id: edit.id, subject: edit.subject, count: 0, note: '' });
    return { visits: next, counted };
  }
  const visit = visits.get(edit.id);
  if (visit === undefined) throw new Error(`the model has no ${edit.id}`);
  if (edit.kind === 'delete') next.delete(edit.id);
  if (edit.kind === 'update') next.set(edit.id, { ...visit, subject: edit.subject });
  if (edit.kind === 'note') next.set(edit.id, { ...visit, note: visit.note + edit.text });
  if (edit.kind !== 'count') return { visits: next, counted };
  next.set(edit.id, { ...visit, count: visit.count + edit.by });
  return { visits: next, counted: counted + edit.by };
};

/** A state as text that is equal when states are: visits by id, then the count. */
export const stateText = ({ visits, counted }: DeviceState): string =>
  [
    ...[...visits.values()]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, subject, count, note }) => `${id} ${subject} ${count} ${JSON.stringify(note)}`),
    `counted ${counted}`,
  ].join('\n');

/** Start of the ids of records that the server makes; everything else is of devices. */
export const batchPrefix = 'batch-';
