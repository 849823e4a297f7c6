// A server that writes rows in batches and ends: folder of its data, number of rows.
import { openServer } from '@tidemark/server';
import { sayToParent } from './child.js';
import { peakMemoryMb } from './peak-memory.js';
import { madeUpRows, placesSchema, tenant } from './places.js';

/** Rows between two reports: a server imports in bounded calls. */
const batchRows = 10_000;

/** What the server says on its way. */
export type ImportSaying =
  | { readonly say: 'progress'; readonly rows: number; readonly peakMb: number }
  | {
      readonly say: 'imported';
      readonly rows: number;
      readonly peakMb: number;
      readonly ms: number;
      readonly last: string | undefined;
    };

const [folder = '', wanted = '0'] = process.argv.slice(2);
const rows = Number(wanted);
const server = await openServer({ folder, tenant, schema: placesSchema });
const started = performance.now();
const all = madeUpRows(rows);
let lastId = '';
for (let done = 0; done < rows; done += batchRows) {
  const batch = [];
  for (let k = 0; k < batchRows; k += 1) {
    const { value, done: ended } = all.next();
    if (ended === true || value === undefined) break;
    batch.push(value);
    lastId = value.id;
  }
  await server.write(batch, { user: 'office' });
  await sayToParent<ImportSaying>({
    say: 'progress',
    rows: done + batch.length,
    peakMb: peakMemoryMb(),
  });
}
await server.settle();
const ms = performance.now() - started;
const last = (await server.get('places', lastId))?.id;
await server.close();
await sayToParent<ImportSaying>({ say: 'imported', rows, peakMb: peakMemoryMb(), ms, last });
process.disconnect();
