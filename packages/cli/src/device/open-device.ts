import type { AnySchema, NatsPlace, Replica, Transport } from '@tidemark/node';
import { TidemarkError, type Customization, type Value } from '@tidemark/model';
import type { Server } from '@tidemark/server';
import { readSchemaFile } from '../config/schema-file.js';
import type { Settings } from '../config/settings.js';
import { connectDesk } from '../server/control-client.js';
import { holdsServer, natsPlaceOf, openFolder, type LooseTables } from '../server/open-folder.js';

/** Replica whose tables are known at run time only. */
export interface LooseReplica extends Omit<
  Replica<AnySchema>,
  'create' | 'update' | 'delete' | 'increment' | 'editText' | 'get' | 'query'
> {
  readonly create: (
    table: string,
    fields: Readonly<Record<string, Value>>,
    options?: { readonly id?: string },
  ) => Promise<string>;
  readonly update: (
    table: string,
    id: string,
    fields: Readonly<Record<string, Value>>,
  ) => Promise<void>;
  readonly delete: (table: string, id: string) => Promise<void>;
  readonly increment: (table: string, id: string, field: string, by: number) => Promise<void>;
  readonly editText: (table: string, id: string, field: string, text: string) => Promise<void>;
  readonly get: (table: string, id: string) => Promise<Readonly<Record<string, Value>> | undefined>;
  readonly query: (
    table: string,
    query: {
      readonly filter?: string;
      readonly order?: readonly { readonly field: string; readonly direction?: 'asc' | 'desc' }[];
      readonly limit?: number;
      readonly offset?: number;
    },
  ) => Promise<readonly Readonly<Record<string, Value>>[]>;
}

/** A device that a command has open. */
export interface OpenDevice {
  readonly replica: LooseReplica;
  /** Customization of the schema file; the replica may have a newer one. */
  readonly customization: Customization;
  readonly close: () => Promise<void>;
}

interface Way {
  readonly transport: Transport;
  readonly close: () => Promise<void>;
}

const offline: Way = {
  transport: {
    open: () => Promise.reject(new TidemarkError('unreachable', 'the command works offline')),
  },
  close: () => Promise.resolve(),
};

/** NATS of the server that runs on the folder, if one does. */
const placeOfRunning = async (folder: string): Promise<NatsPlace | undefined> => {
  const desk = await connectDesk(folder);
  const servers = (await desk?.status())?.nats ?? undefined;
  return servers === undefined ? undefined : { servers };
};

/** The way to the server: NATS when it is configured or a server runs, else the server's folder, opened for the run. */
const wayToServer = async (
  settings: Settings,
  customization: Customization,
  given: NatsPlace | undefined,
): Promise<Way> => {
  const folder = settings.needed('folder');
  const nats = given ?? (await natsPlaceOf(settings)) ?? (await placeOfRunning(folder));
  if (nats !== undefined) {
    const { natsTransport } = await import('@tidemark/node');
    const transport = natsTransport(nats);
    return { transport, close: () => transport.disconnect() };
  }
  if (!(await holdsServer(folder)))
    throw new TidemarkError(
      'unreachable',
      `no address of NATS is configured, and there is no server in ${folder}`,
    );
  const server: Server<LooseTables> = await openFolder(settings, {});
  if (server.customization().version === 0)
    await server.publish({ customization }, { user: settings.needed('user') });
  return { transport: server.transport, close: () => server.close() };
};

/** Opens the configured device; with `online` it can reach the server. Rejects as `openReplica` does. */
export const openDevice = async (settings: Settings, online: boolean): Promise<OpenDevice> => {
  const customization = await readSchemaFile(settings);
  const file = settings.text('device.file');
  const { deviceOptions, openReplica, readDeviceFile } = await import('@tidemark/node');
  const given = file === undefined ? undefined : deviceOptions(await readDeviceFile(file));
  const way = online ? await wayToServer(settings, customization, given?.nats) : offline;
  try {
    const replica = await openReplica<AnySchema>({
      folder: settings.needed('device.folder'),
      ...(given?.replica ?? {
        tenant: settings.needed('tenant'),
        user: settings.text('device.user') ?? settings.needed('user'),
      }),
      schema: { customization },
      transport: way.transport,
      durability: 'disk',
    });
    return {
      replica: replica as unknown as LooseReplica,
      customization,
      close: async () => {
        await replica.close();
        await way.close();
      },
    };
  } catch (cause) {
    await way.close();
    throw cause;
  }
};
