import { defineSchema, field } from '@tidemark/node';

/** Schema of the golden folders. It stays as it is: the folders were written with it. */
export const goldenSchema = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1,
      indexes: { byStatus: ['status'] },
      fields: {
        subject: field.string(1, { required: true }),
        status: field.string(2, { rule: 'manual' }),
        count: field.counter(3),
        note: field.text(4),
        on: field.date(5),
        price: field.decimal(6),
      },
    },
    tasks: { id: 2, fields: { visit: field.reference(1, 'visits'), title: field.string(2) } },
  },
});

export const goldenTenant = 'golden';
export const goldenUser = 'ana';
/** Folder of the golden data of format 1, below the repository's root. */
export const goldenFolder = 'test/golden/folders-v1';
