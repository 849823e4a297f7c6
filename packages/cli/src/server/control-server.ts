import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { TidemarkError } from '@tidemark/model';
import { showFailure } from '../failure.js';
import { controlCalls } from './control-calls.js';
import { controlBytesMax, controlPath, fitsSocket } from './control-path.js';
import type { Desk } from './desk.js';

/** Connections of commands at a time. */
const connectionsMax = 32;

const readBody = async (request: IncomingMessage): Promise<unknown> => {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > controlBytesMax)
      throw new TidemarkError('malformed-message', `a call exceeds ${controlBytesMax} bytes`);
    parts.push(part);
  }
  return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
};

const answer = async (desk: Desk, request: IncomingMessage): Promise<unknown> => {
  const name = (request.url ?? '').slice(1);
  const call = Object.hasOwn(controlCalls, name) ? controlCalls[name] : undefined;
  if (call === undefined)
    throw new TidemarkError('newer-protocol', `the running server has no call ${name}`);
  return call.answer(desk, await readBody(request));
};

const listen = (server: Server, address: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    // The socket is made within the call: nobody else of the machine may open it even for a moment.
    const before = process.umask(0o177);
    server.listen(address, () => {
      server.removeListener('error', reject);
      resolve();
    });
    process.umask(before);
  });

/**
 * Answers commands through a socket in the server's folder, which only its user may open. Call it while the
 * folder is held: then a socket that is there belongs to a process that is gone. Resolves with the way to end.
 */
export const serveControl = async (folder: string, desk: Desk): Promise<() => Promise<void>> => {
  const address = controlPath(folder);
  if (!fitsSocket(address))
    throw new TidemarkError('invalid-option', `the path of the folder is too long for a socket`);
  const isFile = process.platform !== 'win32';
  const server = createServer((request, response) => {
    void answer(desk, request).then(
      (value) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ value: value ?? null }));
      },
      (cause: unknown) => {
        const { code, message, details } = showFailure(cause);
        response.writeHead(400, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error: { code, message, details } }));
      },
    );
  });
  server.maxConnections = connectionsMax;
  if (isFile) await rm(address, { force: true });
  await listen(server, address);
  return async () => {
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
    });
  };
};
