import { defineSchema, field } from '@tidemark/node';

const contacts = {
  id: 1,
  scopeKey: 'site',
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
} as const;
const notes = { id: 2, fields: { text: field.text(1) } } as const;

/** Schema of the benchmarks: CRM-like records of 12 fields and about 300 bytes, and notes that people share. */
export const schema = defineSchema({ version: 1, tables: { contacts, notes } });

/** The same with two declared indexes. */
export const indexedSchema = defineSchema({
  version: 1,
  tables: {
    contacts: { ...contacts, indexes: { byCompany: ['company'], byStage: ['stage', 'amount'] } },
    notes,
  },
});

/** Id of the one note of suite `text`. */
export const noteId = 'note-1';

const words = [
  'pump',
  'valve',
  'north',
  'delta',
  'sensor',
  'review',
  'urgent',
  'call',
  'later',
  'crane',
  'filter',
  'motor',
  'harbour',
  'invoice',
  'spring',
  'visit',
] as const;
/** Sites among which the contacts are spread. */
export const sites = 1_000;

/** Hash of a whole number to 32 bits, the same on every machine (finalizer of MurmurHash3). */
export const scramble = (value: number): number => {
  let h = value >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
};

const word = (n: number): string => words[n % words.length] ?? '';

/** Word that an author types as its edit `i`; no other edit types the same. */
export const typedWord = (author: number, i: number): string =>
  `${word(scramble(i + author))}${author}.${i} `;

/** Site of the record at a position, as a number. */
export const siteAt = (i: number): number => i % sites;

/** Name of a site by its number. */
export const siteName = (site: number): string => `site-${site}`;

/** Filter for the records of a site. */
export const siteFilter = (site: number): string => `site = "${siteName(site)}"`;

/** Id of the record at a position; ids are in the order of positions. */
export const contactId = (i: number): string => `c-${String(i).padStart(9, '0')}`;

/** Fields of the record at a position; `round` 0 is as it was imported. */
export const contactAt = (i: number, round = 0) => {
  const n = scramble(i);
  const k = scramble(i + 0x9e3779b9);
  return {
    name: `${word(n)} ${word(n >>> 4)} ${i}`,
    email: `${word(n >>> 8)}.${word(k)}.${i}@example.com`,
    phone: `+421 ${String(k % 1_000_000_000).padStart(9, '0')}`,
    company: `${word(k >>> 4)} ${word(k >>> 8)} ltd`,
    stage: word((n >>> 12) + round),
    amount: (n % 1_000_000) + round,
    score: k % 100,
    active: n % 2 === 0,
    createdAt: '2026-01-01T00:00:00.000Z',
    updatedAt: 1_700_000_000_000 + i + round,
    notes: `${word(n)} ${word(k)} ${word(n >>> 16)} ${word(k >>> 16)} ${word(n >>> 20)} ${word(k >>> 20)}`,
    site: siteName(siteAt(i)),
  };
};

/** Positions `0..count-1` in an order that is random and the same each time. */
export const shuffled = (count: number, seed = 42): Uint32Array => {
  const out = new Uint32Array(count);
  for (let i = 0; i < count; i += 1) out[i] = i;
  for (let i = count - 1; i > 0; i -= 1) {
    const k = scramble(seed + i) % (i + 1);
    const held = out[i] ?? 0;
    out[i] = out[k] ?? 0;
    out[k] = held;
  }
  return out;
};
