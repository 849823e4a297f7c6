import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { TidemarkError } from '@tidemark/model';
import { UsageError } from '../failure.js';

/** Connections for health and metrics at a time. */
export const httpConnectionsMax = 64;
/** Longest time for the request of a connection, ms. */
export const httpRequestMs = 10_000;

/** Where health and metrics are served. */
export interface HttpAddress {
  readonly host: string;
  readonly port: number;
}

/** Takes `host:port`, `port` or `off` apart; a port alone is of the loopback. Throws UsageError. */
export const httpAddressOf = (text: string): HttpAddress | undefined => {
  if (text === 'off') return undefined;
  const [, bracketed, host, digits] = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    throw new UsageError(
      '--http is an address such as 127.0.0.1:9465, or off',
      'Name a host and a port, a port of this machine, or off.',
    );
  const name = bracketed ?? host ?? '';
  return { host: name === '' ? '127.0.0.1' : name, port };
};

/** An answer of the listener. */
export interface HttpAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** JSON as an answer. */
export const jsonAnswer = (status: number, value: unknown): HttpAnswer => ({
  status,
  type: 'application/json; charset=utf-8',
  body: `${JSON.stringify(value)}\n`,
});

/** What each path answers; the query is passed on. */
export type HttpPaths = Readonly<
  Record<string, (query: URLSearchParams) => HttpAnswer | Promise<HttpAnswer>>
>;

const answer = async (paths: HttpPaths, request: IncomingMessage): Promise<HttpAnswer> => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const work = Object.hasOwn(paths, pathname) ? paths[pathname] : undefined;
  if (work === undefined) return jsonAnswer(404, { error: 'not found', paths: Object.keys(paths) });
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return jsonAnswer(405, { error: 'only GET' });
  return work(searchParams);
};

const respond = (response: ServerResponse, { status, type, body }: HttpAnswer): void => {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(body);
};

/** A listener that answers. */
export interface ServedHttp {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Answers health and metrics. Rejects with `unreachable` when the address cannot be taken. */
export const serveHttp = async (address: HttpAddress, paths: HttpPaths): Promise<ServedHttp> => {
  const server = createServer((request, response) => {
    void answer(paths, request).then(
      (found) => respond(response, found),
      () => respond(response, jsonAnswer(500, { error: 'the server failed' })),
    );
  });
  server.maxConnections = httpConnectionsMax;
  server.requestTimeout = httpRequestMs;
  server.headersTimeout = httpRequestMs;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new TidemarkError(
          'unreachable',
          `health and metrics cannot be served at ${address.host}:${address.port}: ${cause.message}`,
          {},
          cause,
        ),
      ),
    );
    server.listen(address.port, address.host, resolve);
  });
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
