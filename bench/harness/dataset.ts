import type { AnySchema, Value } from '@tidemark/node';
import { contactAt, contactId, indexedSchema, schema } from './crm.js';
import { flightAt, flightId, flightsSchema, loadFlights } from './flights.js';

/** Names of the data sets. */
export type DataName = 'crm' | 'crm-indexed' | 'flights';

/** Records of one table by their positions. */
export interface Dataset {
  readonly schema: AnySchema;
  readonly table: string;
  readonly id: (i: number) => string;
  readonly fields: (i: number, round: number) => Readonly<Record<string, Value>>;
  /** Makes the records up to a position ready to be read. */
  readonly load: (to: number) => Promise<void>;
}

const ready = (): Promise<void> => Promise.resolve();

const datasets: Readonly<Record<DataName, unknown>> = {
  crm: { schema, table: 'contacts', id: contactId, fields: contactAt, load: ready },
  'crm-indexed': {
    schema: indexedSchema,
    table: 'contacts',
    id: contactId,
    fields: contactAt,
    load: ready,
  },
  flights: {
    schema: flightsSchema,
    table: 'flights',
    id: flightId,
    fields: flightAt,
    load: loadFlights,
  },
};

/** Data set of that name. */
export const datasetOf = (name: DataName): Dataset => datasets[name] as Dataset;
