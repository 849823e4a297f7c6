// A first sync of CRM-like records over the local transport, server and device on real files.
// Run: node bench/dist/full-sync.js [records]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openReplica } from '@tidemark/node';
import { defineSchema, field, openServer } from '@tidemark/server';

const records = Number(process.argv[2] ?? 100_000);
const schema = defineSchema({
  version: 1,
  tables: {
    contacts: {
      id: 1,
      fields: {
        name: field.string(1),
        email: field.string(2),
        phone: field.string(3),
        company: field.string(4),
        stage: field.string(5),
        amount: field.number(6),
        score: field.number(7),
        active: field.boolean(8),
        createdAt: field.string(9),
        updatedAt: field.number(10),
        notes: field.string(11),
        site: field.string(12),
      },
    },
  },
});
const words = ['pump', 'valve', 'north', 'delta', 'sensor', 'review', 'urgent', 'call', 'later', 'crane'];
const pick = (n: number): string => words[n % words.length] as string;
function* rows() {
  for (let i = 0; i < records; i += 1) {
    const n = Math.imul(i, 2654435761) >>> 0;
    yield {
      kind: 'put' as const,
      table: 'contacts' as const,
      id: `c-${String(i).padStart(8, '0')}`,
      fields: {
        name: `${pick(n)} ${pick(n >>> 4)} ${i}`,
        email: `${pick(n >>> 2)}.${i}@example.com`,
        phone: `+421 ${n % 1_000_000_000}`,
        company: `${pick(n >>> 3)} ${pick(n >>> 5)} ltd`,
        stage: pick(n >>> 6),
        amount: n % 100_000,
        score: n % 100,
        active: n % 2 === 0,
        createdAt: '2026-01-01T00:00:00.000Z',
        updatedAt: 1_700_000_000_000 + i,
        notes: `${pick(n)} ${pick(n >>> 1)} ${pick(n >>> 2)} ${pick(n >>> 3)} ${pick(n >>> 7)} ${pick(n >>> 8)}`,
        site: `site-${n % 1000}`,
      },
    };
  }
}
const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'));
try {
  const server = await openServer({ folder: join(folder, 'server'), tenant: 'acme', schema });
  let started = performance.now();
  await server.write(rows(), { user: 'import' });
  console.log(`import ${records} records: ${((performance.now() - started) / 1000).toFixed(2)} s`);
  const replica = await openReplica({
    folder: join(folder, 'device'),
    tenant: 'acme',
    user: 'u',
    schema,
    transport: server.transport,
  });
  started = performance.now();
  const log = await replica.sync();
  const seconds = (performance.now() - started) / 1000;
  console.log(`first sync: ${seconds.toFixed(2)} s, ${Math.round(records / seconds)} records/s, ${(log.downloadedBytes / 1e6).toFixed(1)} MB, rss ${Math.round(process.resourceUsage().maxRSS / 1024)} MB`);
  await replica.close();
  await server.close();
} finally {
  await rm(folder, { recursive: true, force: true });
}
