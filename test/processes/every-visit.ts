import type { Visit } from './kill-schema.js';

/** Visits that one query asks for: few enough that short campaigns read several times, too. */
const visitsPerQuery = 1_000;

/** Record of the table as a server shows it. */
interface VisitRecord {
  readonly id: string;
  readonly subject: string;
  readonly count: number | null;
  readonly note: string | null;
}

/** What of a server is needed to read its visits. */
export interface VisitSource {
  readonly query: (
    table: 'visits',
    query: { readonly after?: string; readonly limit: number },
  ) => Promise<readonly VisitRecord[]>;
}

/**
 * All visits of a server, in id order. One query of a server returns `queryRecordsMax` records at most and
 * does not say whether there are more, so they are read query by query.
 */
export async function* everyVisit(server: VisitSource): AsyncGenerator<Visit> {
  let after: string | undefined;
  for (;;) {
    const found = await server.query('visits', {
      ...(after === undefined ? {} : { after }),
      limit: visitsPerQuery,
    });
    for (const { id, subject, count, note } of found)
      yield { id, subject, count: count ?? 0, note: note ?? '' };
    if (found.length < visitsPerQuery) return;
    after = found.at(-1)?.id;
  }
}
