import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError, type Customization, type TableSpec } from '@tidemark/model';
import { openServer, type Server, type ServerEvent } from '@tidemark/server';
import type { NatsPlace } from '@tidemark/node';
import type { Settings } from '../config/settings.js';

/** Tables whose types are known at run time only. */
export type LooseTables = Readonly<Record<string, TableSpec>>;

/** Customization of which nothing is published: the one in force stays. */
const nothing: Customization = { format: 1, version: 0, tables: [] };

/** True when a folder holds the store of a server. */
export const holdsServer = async (folder: string): Promise<boolean> => {
  try {
    return (await stat(path.join(folder, 'store'))).isDirectory();
  } catch {
    return false;
  }
};

/** Where NATS is and how to sign in there; undefined when it is not configured. */
export const natsPlaceOf = async (settings: Settings): Promise<NatsPlace | undefined> => {
  const servers = settings.list('nats.servers');
  if (servers === undefined) return undefined;
  const user = settings.text('nats.user');
  const password = settings.text('nats.password');
  const token = settings.text('nats.token');
  const file = settings.text('nats.credentials');
  const credentials = file === undefined ? undefined : await readFile(file, 'utf8');
  return {
    servers,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(token === undefined ? {} : { token }),
    ...(credentials === undefined ? {} : { credentials }),
  };
};

/** How the server of a folder is opened. */
export interface OpenFolderOptions {
  /** Folder in place of the configured one. */
  readonly folder?: string;
  /** Published when it is newer than what is in force; what is in force stays when left out. */
  readonly publish?: Customization;
  /** Folder of checkpoints in place of the configured one. */
  readonly checkpoints?: string;
  /** NATS in place of the configured one. */
  readonly nats?: NatsPlace;
  readonly onEvent?: (event: ServerEvent) => void;
}

/** Opens the server of the configured folder in this process. Rejects as `openServer` does. */
export const openFolder = async (
  settings: Settings,
  options: OpenFolderOptions,
): Promise<Server<LooseTables>> => {
  const tenant = settings.needed('tenant');
  const folder = options.folder ?? settings.needed('folder');
  const nats = options.nats ?? (await natsPlaceOf(settings));
  const streamBytesMax = settings.count('nats.streamBytesMax');
  const replicas = settings.count('nats.replicas');
  const archive = settings.text('nats.archive');
  const keep = settings.count('checkpoints.keep');
  const everyOps = settings.count('checkpoints.everyOps');
  const place =
    nats === undefined
      ? { folder }
      : {
          folder,
          nats: {
            connection: nats,
            ...(streamBytesMax === undefined ? {} : { streamBytesMax }),
            ...(replicas === undefined ? {} : { replicas }),
            ...(archive === undefined ? {} : { archive }),
          },
        };
  return openServer<LooseTables>({
    ...place,
    tenant,
    schema: { customization: options.publish ?? nothing },
    checkpoints: {
      folder: options.checkpoints ?? settings.needed('checkpoints.folder'),
      ...(keep === undefined ? {} : { keep }),
      ...(everyOps === undefined ? {} : { everyOps }),
      ...(settings.isOn('checkpoints.trimInput') ? { trimInput: true } : {}),
    },
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
};

/** Refuses to begin an empty server where one was expected. */
export const requireServer = async (settings: Settings): Promise<void> => {
  const folder = settings.needed('folder');
  if (await holdsServer(folder)) return;
  throw new TidemarkError(
    'invalid-option',
    `there is no server in ${folder}: \`tidemark serve\` or \`tidemark import\` begins one, --folder names another`,
    { option: 'folder' },
  );
};
