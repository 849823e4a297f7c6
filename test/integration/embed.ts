import { openReplica } from '@tidemark/node';
import { defineSchema, field, openServer } from '@tidemark/server';

const schema = defineSchema({
  version: 1,
  tables: {
    visits: {
      id: 1, // numbers name tables and fields for ever, names are for people
      fields: {
        subject: field.string(1, { required: true }),
        status: field.option(2, ['planned', 'done', 'cancelled'], { rule: 'manual' }),
        parts: field.counter(3),
      },
    },
  },
});

export const embed = async (folder: string): Promise<string> => {
  const server = await openServer({ folder: `${folder}/server`, tenant: 'acme', schema });
  const { transport } = server;
  const open = (user: string) =>
    openReplica({ folder: `${folder}/${user}`, tenant: 'acme', user, schema, transport });
  const [a, b] = [await open('user-a'), await open('user-b')];

  const visit = await a.create('visits', { subject: 'Pump 7', status: 'planned', parts: 10 });
  for (const replica of [a, b]) await replica.sync(); // uploads, merges, downloads
  await a.update('visits', visit, { status: 'done' }); // offline now, both:
  await b.update('visits', visit, { status: 'cancelled' }); // only a person may decide
  await a.increment('visits', visit, 'parts', -2); // counters add
  await b.increment('visits', visit, 'parts', -3);
  for (const replica of [a, b, a]) await replica.sync();

  const [conflict] = await b.errors.list(); // b keeps its own word until it decides
  const choices = (conflict?.conflicts ?? []).map((one) => ({ ...one, pick: 'theirs' as const }));
  if (conflict) await b.errors.resolve(conflict.id, { action: 'merge', choices });
  for (const replica of [b, a]) await replica.sync();
  const { status, parts } = (await a.get('visits', visit)) ?? {};
  for (const part of [a, b, server]) await part.close();
  return `${status}, ${parts} parts`;
};
