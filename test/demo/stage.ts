import path from 'node:path';
import { natsTransport } from '@tidemark/node';
import { openServer } from '@tidemark/server';
import { schema } from './schema.js';
import type { Stage } from './story.js';

type Servers = Pick<Stage, 'server' | 'others' | 'transport'> & {
  readonly close: () => Promise<void>;
};

const tenant = 'demo';

/** Address after `--nats`; undefined when the story is told in this process alone. */
export const natsUrl = (): string | undefined => {
  const at = process.argv.indexOf('--nats');
  return at === -1 ? undefined : process.argv[at + 1];
};

const openEmbedded = async (folder: string): Promise<Servers> => {
  const server = await openServer({ folder: path.join(folder, 'server'), tenant, schema });
  const { transport } = server;
  return { server, others: [], transport: () => transport, close: () => server.close() };
};

const openOnNats = async (folder: string, url: string): Promise<Servers> => {
  // Servers of one tenant share the key of their cursors, so that downloads may move between them.
  const cursorKey = new Uint8Array(32).fill(1);
  const serve = (name: string) =>
    openServer({
      folder: path.join(folder, name),
      tenant,
      schema,
      cursorKey,
      nats: { connection: { servers: [url], name } },
    });
  const server = await serve('server');
  const other = await serve('server-2');
  return {
    server,
    others: [other],
    transport: (device) => natsTransport({ servers: [url], name: `device ${device}` }),
    close: async () => {
      await server.close();
      await other.close();
    },
  };
};

/** Opens the servers of the story and says how devices reach them. */
export const openStage = (folder: string, url: string | undefined): Promise<Servers> =>
  url === undefined ? openEmbedded(folder) : openOnNats(folder, url);
