import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  openReplica,
  systemTimer,
  type ReplicaEvent,
  type Timer,
  type Transport,
} from '@tidemark/node';
import type { TypedSchema } from '@tidemark/model';
import {
  defineSchema,
  field,
  openServer,
  type AuthenticateHook,
  type Server,
  type ServerEvent,
} from '@tidemark/server';

/** Schema of these tests. */
export const schema = defineSchema({
  version: 1,
  tables: { things: { id: 1, fields: { name: field.string(1, { required: true }) } } },
});
type TheServer = Server<typeof schema extends TypedSchema<infer T> ? T : never>;

/** Pauses are short, so that what waits for nobody is soon over. */
const quick: Timer = { sleep: (ms, signal) => systemTimer.sleep(Math.min(ms, 50), signal) };

const folders: string[] = [];
/** How to close what is open, newest last. */
export const closers: (() => Promise<unknown>)[] = [];
/** Closes everything that was opened, newest first, and removes its folders. */
export const closeAll = async (): Promise<void> => {
  for (const close of closers.splice(0).reverse()) await close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
};

const newFolder = (): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tm-identity-'));
  folders.push(folder);
  return folder;
};

/** A server and what it told. */
export interface World {
  readonly folder: string;
  readonly server: TheServer;
  readonly events: ServerEvent[];
}

/** Opens a server with a folder of its own, or of an earlier one. */
export const openWorld = async (
  options: {
    readonly folder?: string;
    readonly authenticate?: AuthenticateHook;
    readonly identities?: 'required';
    readonly nowMs?: () => number;
  } = {},
): Promise<World> => {
  const events: ServerEvent[] = [];
  const { folder = newFolder(), nowMs, ...rest } = options;
  const server = await openServer({
    folder: path.join(folder, 'server'),
    tenant: 'acme',
    schema,
    onEvent: (event) => events.push(event),
    ...(nowMs === undefined ? {} : { clock: { nowMs } }),
    ...rest,
  });
  closers.push(() => server.close());
  return { folder, server, events };
};

/** Opens a device of the server, with short pauses. */
export const openDevice = async (
  world: World,
  name: string,
  options: {
    readonly token?: () => Promise<string>;
    readonly transport?: Transport;
    readonly user?: string;
    readonly receiptKeys?: readonly string[];
  } = {},
) => {
  const events: ReplicaEvent[] = [];
  const { token, receiptKeys } = options;
  const replica = await openReplica({
    folder: path.join(world.folder, name),
    tenant: 'acme',
    user: options.user ?? 'ann',
    schema,
    timer: quick,
    transport: options.transport ?? world.server.transport,
    onEvent: (event) => events.push(event),
    ...(token === undefined ? {} : { credentials: async () => ({ token: await token() }) }),
    ...(receiptKeys === undefined ? {} : { receiptKeys }),
  });
  closers.push(() => replica.close());
  return { replica, events };
};

/** Makes a one-time token. */
export const tokenFor = async (world: World, device: string, user = 'ann', ttlMs = 60_000) =>
  (await world.server.identities.createToken({ user, device, ttlMs, by: 'operator' })).token;

/** Names of all records of the server, sorted. */
export const names = async (world: World): Promise<readonly string[]> => {
  await world.server.settle();
  return (await world.server.query('things')).map(({ name }) => name).sort();
};
