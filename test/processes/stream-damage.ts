import { readdir, stat, truncate } from 'node:fs/promises';
import path from 'node:path';
import type { NatsServer } from './nats-server.js';

/** Folder of the messages of a stream. */
export const blocksOf = (nats: NatsServer, stream: string): string =>
  path.join(nats.folder, 'store/jetstream/$G/streams', stream, 'msgs');

/** File of the newest messages of a stream. */
export const newestBlock = async (nats: NatsServer, stream: string): Promise<string> => {
  const folder = blocksOf(nats, stream);
  const names = (await readdir(folder)).filter((name) => name.endsWith('.blk'));
  const newest = names.map((name) => Number.parseInt(name, 10)).sort((a, b) => b - a)[0];
  return path.join(folder, `${newest}.blk`);
};

/** Cuts the newest block to a share of its length, as a power cut may. NATS must not run. */
export const cutNewestBlock = async (
  nats: NatsServer,
  stream: string,
  share: number,
): Promise<void> => {
  const block = await newestBlock(nats, stream);
  await truncate(block, Math.floor((await stat(block)).size * share));
};
