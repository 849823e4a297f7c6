import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError, type Customization, type TableSpec } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';
import type { NatsServerConnection, Server, ServerEvent } from '@tidemark/server';
import type { NatsPlace } from '@tidemark/node';
import type { Settings } from '../config/settings.js';
import { cursorKeyOf } from './cursor-key-file.js';
import {
  inputPlaceOf,
  managedNatsFolder,
  noteNatsInput,
  requireNotedInput,
  requireSameInput,
  type FoundInput,
} from './input-place.js';
import {
  findNatsProgram,
  installLine,
  runningNats,
  startNats,
  type StartedNats,
} from './nats-program.js';

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

/** Where NATS is and how to sign in there; undefined when it is not configured. `servers`: known from elsewhere. */
export const natsPlaceOf = async (
  settings: Settings,
  servers = settings.list('nats.servers'),
): Promise<NatsPlace | undefined> => {
  if (servers === undefined) return undefined;
  const user = settings.text('nats.user');
  const password = settings.text('nats.password');
  const token = settings.text('nats.token');
  const file = settings.text('nats.credentials');
  const credentials = file === undefined ? undefined : await readFile(file, 'utf8');
  const caFile = settings.text('nats.ca');
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  return {
    servers,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(token === undefined ? {} : { token }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(ca === undefined ? {} : { tls: { ca } }),
  };
};

/** How the server of a folder is opened. */
export interface OpenFolderOptions {
  /** Folder in place of the configured one. */
  readonly folder?: string;
  /** Published when it is newer than what is in force; what is in force stays when left out. */
  readonly publish?: Customization;
  /** Checkpoints that are only read, in place of the configured folder: none is written or removed. */
  readonly checkpoints?: CheckpointFolder;
  /** NATS that is known to be the right one: it is not looked for. A connection stays open. */
  readonly connection?: NatsPlace | NatsServerConnection;
  /** Only looks: begins no input and no incarnation. */
  readonly look?: boolean;
  readonly onEvent?: (event: ServerEvent) => void;
}

/** Starts the nats-server of the folder. Rejects with `unreachable`, also when there is no program. */
export const startManagedNats = (
  settings: Settings,
  port: number | undefined,
): Promise<StartedNats> => {
  const program = findNatsProgram(settings.text('nats.program'));
  if (program === undefined)
    throw new TidemarkError(
      'unreachable',
      `there is no nats-server on this machine: ${installLine()}, or name one that runs with --nats`,
    );
  return startNats(program, managedNatsFolder(settings), port);
};

const natsOptionsOf = (settings: Settings, connection: NatsPlace | NatsServerConnection) => {
  const streamBytesMax = settings.count('nats.streamBytesMax');
  const generationBytes = settings.count('nats.generationBytes');
  const replicas = settings.count('nats.replicas');
  const archive = settings.text('nats.archive');
  return {
    connection,
    ...(streamBytesMax === undefined ? {} : { streamBytesMax }),
    ...(generationBytes === undefined ? {} : { generationBytes }),
    ...(replicas === undefined ? {} : { replicas }),
    ...(archive === undefined ? {} : { archive }),
  };
};

/** What NATS holds of the tenant; nothing is begun. */
const findInput = async (
  tenant: string,
  nats: NonNullable<OpenFolderOptions['connection']>,
): Promise<FoundInput> => {
  const { connectServer, readInputName } = await import('@tidemark/server');
  const { systemEntropy } = await import('@tidemark/node');
  const connection = 'core' in nats ? nats : await connectServer(nats, systemEntropy);
  try {
    return await readInputName(connection as NatsServerConnection, tenant);
  } finally {
    if (connection !== nats) await (connection as NatsServerConnection).close();
  }
};

const openAt = async (
  settings: Settings,
  options: OpenFolderOptions,
  nats: NatsPlace | NatsServerConnection | undefined,
): Promise<Server<LooseTables>> => {
  const folder = options.folder ?? settings.needed('folder');
  const keep = settings.count('checkpoints.keep');
  const everyOps = settings.count('checkpoints.everyOps');
  const cursorKey = await cursorKeyOf(settings);
  const tenant = settings.needed('tenant');
  const found = nats === undefined ? undefined : await findInput(tenant, nats);
  if (nats !== undefined) await requireNotedInput(folder, found, options.look !== true);
  // Commands that ask a running server, or only look at files, never pay for loading one.
  const { openServer } = await import('@tidemark/server');
  const server = await openServer<LooseTables>({
    ...(nats === undefined ? { folder } : { folder, nats: natsOptionsOf(settings, nats) }),
    ...(cursorKey === undefined ? {} : { cursorKey }),
    tenant,
    schema: { customization: options.publish ?? nothing },
    checkpoints:
      options.checkpoints === undefined
        ? {
            folder:
              nats !== undefined && settings.text('checkpoints.in') === 'nats'
                ? { in: 'nats' as const }
                : settings.needed('checkpoints.folder'),
            ...(keep === undefined ? {} : { keep }),
            ...(everyOps === undefined ? {} : { everyOps }),
            ...(settings.isOn('checkpoints.trimInput') ? { trimInput: true } : {}),
          }
        : { folder: options.checkpoints },
    ...(options.look === true ? { newIncarnation: 'refuse' as const } : {}),
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  if (nats === undefined) return server;
  try {
    await noteNatsInput(folder, (found ?? (await findInput(tenant, nats)))?.name);
    return server;
  } catch (cause) {
    await server.close();
    throw cause;
  }
};

/**
 * Opens the server of the configured folder in this process, with the input that it has: when that is the
 * nats-server of the folder and `connection` is left out, one is started until the server is closed. Rejects as
 * `openServer` does, and with `invalid-option`.
 */
export const openFolder = async (
  settings: Settings,
  options: OpenFolderOptions,
): Promise<Server<LooseTables>> => {
  if (options.connection !== undefined) return openAt(settings, options, options.connection);
  const place = await inputPlaceOf(settings);
  const nats = await natsPlaceOf(settings);
  requireSameInput(place, nats !== undefined);
  if (options.look === true && place === 'none' && nats === undefined)
    throw new TidemarkError(
      'input-mismatch',
      'the input of this server is gone: serving it begins another one, looking does not',
    );
  if (nats === undefined && settings.tenants !== undefined && place !== 'folder') {
    // `serve` runs the NATS of all tenants, but not this one: it is new, or it could not be opened.
    const url = await runningNats(managedNatsFolder(settings));
    if (url !== undefined) return openAt(settings, options, { servers: [url] });
  }
  if (nats !== undefined || place !== 'managed') return openAt(settings, options, nats);
  const started = await startManagedNats(settings, undefined);
  try {
    const server = await openAt(settings, options, { servers: [started.url] });
    const close = async (): Promise<void> => {
      await server.close();
      await started.stop();
    };
    return { ...server, close };
  } catch (cause) {
    await started.stop();
    throw cause;
  }
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
