import { existsSync } from 'node:fs';
import path from 'node:path';
import { openReplica, TidemarkError, type Transport } from '@tidemark/node';
import { schema } from './schema.js';
import { tableNames } from './story.js';
import { openTerminal } from './terminal.js';

/** Exploring works offline: there is no server to reach. */
const offline: Transport = {
  open: () => Promise.reject(new TidemarkError('unreachable', 'exploring works offline')),
};
const rowsShown = 20;

const [device = 'a', table = 'cities', filter] = process.argv.slice(2);
const folder = path.resolve('.tidemark-demo', `device-${device}`);
const name = tableNames.find((one) => one === table);
const terminal = openTerminal(process.stdout);

if (!existsSync(folder) || name === undefined) {
  terminal.say('usage: npm run explore -- <a|b> <table> [filter]');
  terminal.say(`tables: ${tableNames.join(', ')}; run npm start first`);
  process.exitCode = 2;
} else {
  const replica = await openReplica({
    folder,
    tenant: 'demo',
    user: `user-${device}`,
    schema,
    transport: offline,
  });
  try {
    const query = filter === undefined ? {} : { filter };
    const records = await replica.query(name, { ...query, limit: rowsShown });
    const head = Object.keys(records[0] ?? { id: '' });
    terminal.table(
      head,
      records.map((record) =>
        Object.values(record).map((value) => (value === null ? '' : String(value))),
      ),
    );
    terminal.say(`${records.length} of ${await replica.count(name, filter)} records`);
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    terminal.say(error.message);
    process.exitCode = 1;
  } finally {
    await replica.close();
  }
}
