import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineSchema, field, type Value } from '@tidemark/node';

/** Schema of the flights of `vega-datasets`: delays of real flights. */
export const flightsSchema = defineSchema({
  version: 1,
  tables: {
    flights: {
      id: 1,
      scopeKey: 'origin',
      fields: {
        date: field.datetime(1),
        delay: field.number(2),
        distance: field.number(3),
        origin: field.string(4),
        destination: field.string(5),
      },
    },
  },
});

/** Rows of the file. */
export const flightsMax = 3_000_000;
/** Where `test/run/flights.mjs` puts the file. */
const file = fileURLToPath(
  new URL('../../../node_modules/.cache/vega-datasets/flights-3m.parquet', import.meta.url),
);

interface FlightRow {
  readonly date: Date;
  readonly delay: bigint;
  readonly distance: bigint;
  readonly origin: string;
  readonly destination: string;
}

let rows: readonly FlightRow[] = [];

/** Reads the flights up to a position. */
export const loadFlights = async (to: number): Promise<void> => {
  if (rows.length >= to) return;
  if (to > flightsMax) throw new RangeError(`there are ${flightsMax} flights, not ${to}`);
  if (!existsSync(file)) throw new RangeError(`${file} is missing: give --data flights`);
  // Only who asks for flights pays for the reader.
  const { asyncBufferFromFile, parquetReadObjects } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  rows = (await parquetReadObjects({
    file: await asyncBufferFromFile(file),
    compressors,
    rowStart: 0,
    rowEnd: to,
  })) as unknown as readonly FlightRow[];
};

/** Id of the flight at a position; ids are in the order of positions. */
export const flightId = (i: number): string => `f-${String(i).padStart(9, '0')}`;

/** Fields of the flight at a position; it must be loaded. */
export const flightAt = (i: number): Readonly<Record<string, Value>> => {
  const row = rows[i];
  if (row === undefined) throw new RangeError(`flight ${i} is not loaded`);
  return {
    date: row.date.toISOString(),
    delay: Number(row.delay),
    distance: Number(row.distance),
    origin: row.origin,
    destination: row.destination,
  };
};
