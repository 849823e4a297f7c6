import { defineSchema, field } from '@tidemark/server';

/** Tables of the demonstration: real places, and work that people do there. */
export const schema = defineSchema({
  version: 1,
  tables: {
    countries: {
      id: 1,
      fields: {
        code: field.string(1, { required: true }),
        places: field.number(2),
        population: field.number(3),
      },
    },
    cities: {
      id: 2,
      rule: 'latest-wins',
      scopeKey: 'country',
      indexes: { byCountry: ['country', 'population'] },
      fields: {
        name: field.string(1, { required: true }),
        country: field.reference(2, 'countries', { required: true }),
        feature: field.string(3),
        admin: field.string(4),
        population: field.number(5),
        latitude: field.number(6),
        longitude: field.number(7),
      },
    },
    visits: {
      id: 3,
      onDelete: 'manual',
      indexes: { byCity: ['city'] },
      fields: {
        city: field.reference(1, 'cities', { required: true }),
        subject: field.string(2),
        status: field.option(3, ['planned', 'confirmed', 'done', 'cancelled'], { rule: 'manual' }),
        plannedOn: field.date(4),
        phone: field.string(5),
      },
    },
    notes: {
      id: 4,
      fields: {
        country: field.reference(1, 'countries', { required: true }),
        title: field.string(2),
        body: field.text(3),
      },
    },
    stock: {
      id: 5,
      indexes: { byCity: ['city'] },
      fields: {
        city: field.reference(1, 'cities', { required: true }),
        item: field.string(2, { required: true }),
        quantity: field.counter(3),
        price: field.decimal(4),
      },
    },
  },
});
