import { request } from 'node:http';
import { connect } from 'node:net';
import {
  errorCatalogue,
  TidemarkError,
  type Customization,
  type ErrorCode,
  type ErrorDetails,
} from '@tidemark/model';
import type { Desk } from './desk.js';
import { controlBytesMax, controlPath, fitsSocket } from './control-path.js';

/** Longest time that a command waits for a running server, ms: a checkpoint of a large tenant takes long. */
const answerMsMax = 30 * 60_000;

const isAnswering = (address: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(address);
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });

const isCode = (code: string): code is ErrorCode => Object.hasOwn(errorCatalogue, code);

const failureOf = (json: unknown): TidemarkError => {
  const error =
    (json as { readonly error?: Readonly<Record<string, unknown>> } | null)?.error ?? {};
  const { code, message, details } = error;
  const text = typeof message === 'string' ? message : 'the server failed';
  if (typeof code === 'string' && isCode(code))
    return new TidemarkError(code, text, (details ?? {}) as ErrorDetails);
  return new TidemarkError('unreachable', `the running server failed: ${text}`);
};

const ask = (address: string, name: string, params: unknown): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const lost = (cause: unknown): void =>
      reject(new TidemarkError('unreachable', 'the running server went away', {}, cause));
    const body = Buffer.from(JSON.stringify(params), 'utf8');
    const asking = request(
      {
        socketPath: address,
        method: 'POST',
        path: `/${name}`,
        timeout: answerMsMax,
        headers: { 'content-length': body.length },
        agent: false,
      },
      (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on('data', (part: Buffer) => {
          bytes += part.length;
          if (bytes > controlBytesMax) response.destroy(new Error('the answer is too long'));
          else parts.push(part);
        });
        response.once('error', lost);
        response.once('end', () => {
          try {
            const json = JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
            if (response.statusCode === 200) resolve((json as { readonly value: unknown }).value);
            else reject(failureOf(json));
          } catch (cause) {
            lost(cause);
          }
        });
      },
    );
    asking.once('timeout', () => asking.destroy(new Error('no answer in time')));
    asking.once('error', lost);
    asking.end(body);
  });

/** Desk of the server that runs on a folder; undefined when none answers. */
export const connectDesk = async (folder: string): Promise<Desk | undefined> => {
  const address = controlPath(folder);
  if (!fitsSocket(address) || !(await isAnswering(address))) return undefined;
  // The answers come from this version of the program or another one, in the folder's own user's hands.
  const call = <A>(name: string, params: object = {}): Promise<A> =>
    ask(address, name, params) as Promise<A>;
  return {
    customization: () => call<Customization>('customization'),
    publish: (customization, user) => call('publish', { customization, user }),
    write: (operations, user) => call('write', { operations, user }),
    records: (table, wanted) => call('records', { table, ...wanted }),
    errors: (wanted) => call('errors', wanted),
    error: (id) => call('error', { id }),
    resolve: (id, input) => call('resolve', { id, input }),
    explain: (table, id, field, limit) => call('explain', { table, id, field, limit }),
    syncLogs: (limit) => call('syncLogs', { limit }),
    status: () => call('status'),
    identities: (after) => call('identities', after === undefined ? {} : { after }),
    census: () => call('census'),
    requireIdentities: (by) => call('requireIdentities', { by }),
    createToken: (wanted) => call('createToken', wanted),
    revoke: (wanted) => call('revoke', wanted),
    moment: () => call('moment'),
    checkpoint: () => call('checkpoint'),
    close: () => Promise.resolve(),
  };
};
