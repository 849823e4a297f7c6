import { headers, type Msg, type MsgHdrs } from '@nats-io/nats-core';
import { errorCatalogue, TidemarkError, utf8Decode, utf8Encode } from '@tidemark/model';
import type { ErrorCode, ErrorDetails } from '@tidemark/model';
import { isServerName } from './subjects.js';

/** Header of a call and of an envelope: the user, percent-encoded. */
export const userHeader = 'Tidemark-User';
/** Header of what a server stores. JetStream's own answers, which a caller may direct anywhere, have none. */
const serverHeader = 'Tidemark-Server';
const codeHeader = 'Tidemark-Error';
const workingHeader = 'Tidemark-Working';
/**
 * Of a call: the caller takes an answer in parts. Of a message of an answer: more of it follows, and the bytes of
 * the whole answer; an older server says 1.
 */
const partsHeader = 'Tidemark-Parts';
/** Of an answer: name of the server that gave it, by which it may be called again. */
const nameHeader = 'Tidemark-Name';
/** Longest message of an answer that travels in parts, bytes: on a slow link each one is a sign of life. */
export const answerPartBytesMax = 16 * 1024;
/** Longest text of a failure that travels, in characters. */
const failureTextMax = 1_000;

/** Headers that name the user. */
export const headersOf = (user: string): MsgHdrs => {
  const named = headers();
  named.set(userHeader, encodeURIComponent(user));
  return named;
};

/** Marks headers as those of a server's message. */
export const markFromServer = (named: MsgHdrs): void => named.set(serverHeader, '1');

/** Whether a stored message was stored by a server. */
export const isFromServer = (
  named: { readonly has: (key: string) => boolean } | undefined,
): boolean => named?.has(serverHeader) === true;
/** Headers of a call: the user, and that the answer may come in parts. */
export const callHeaders = (user: string): MsgHdrs => {
  const named = headersOf(user);
  named.set(partsHeader, '1');
  return named;
};

/** User that headers name; empty when they name none. */
export const userOf = (named: { readonly get: (key: string) => string } | undefined): string => {
  try {
    return decodeURIComponent(named?.get(userHeader) ?? '');
  } catch {
    return '';
  }
};

/** Headers by which a server says that it works on a call. */
export const workingHeaders = (): MsgHdrs => {
  const named = headers();
  named.set(workingHeader, '1');
  return named;
};

/** Names the server that gives an answer. */
export const nameServer = (named: MsgHdrs, server: string | undefined): MsgHdrs => {
  if (server !== undefined) named.set(nameHeader, server);
  return named;
};

/** Server that gave an answer; undefined when it does not tell. */
export const serverOf = (named: MsgHdrs | undefined): string | undefined => {
  const name = named?.get(nameHeader) ?? '';
  return isServerName(name) ? name : undefined;
};

/** Tells whether a message says only that a server works on the call. */
export const isWorking = (message: Msg): boolean => message.headers?.has(workingHeader) === true;

/** Of a message that is only a part of an answer, more of which follows: the bytes that all are said to have. */
export const announcedBytes = (message: Msg): number | undefined =>
  message.headers?.has(partsHeader) === true ? Number(message.headers.get(partsHeader)) : undefined;

/** Answers a call, in parts if the answer is long and the caller takes them. */
export const respondTo = (call: Msg, answer: Uint8Array, server?: string): void => {
  let at = 0;
  if (answer.length > answerPartBytesMax && call.headers?.has(partsHeader) === true) {
    const more = headers();
    more.set(partsHeader, String(answer.length));
    for (; answer.length - at > answerPartBytesMax; at += answerPartBytesMax)
      call.respond(answer.subarray(at, at + answerPartBytesMax), { headers: more });
  }
  call.respond(
    answer.subarray(at),
    server === undefined ? {} : { headers: nameServer(headers(), server) },
  );
};

/** Body and headers that carry a failure to the caller: code and details, nothing of a bug. */
export const encodeFailure = (cause: unknown): { body: Uint8Array; headers: MsgHdrs } => {
  const error =
    cause instanceof TidemarkError
      ? cause
      : new TidemarkError('unreachable', 'the server failed', {});
  const named = headers();
  named.set(codeHeader, error.code);
  const message = error.message.slice(0, failureTextMax);
  return { body: utf8Encode(JSON.stringify({ message, details: error.details })), headers: named };
};

const isCode = (text: string): text is ErrorCode => Object.hasOwn(errorCatalogue, text);

const isPlainDetails = (json: unknown): json is ErrorDetails =>
  typeof json === 'object' && json !== null && !Array.isArray(json);

const decodeFailure = (code: ErrorCode, data: Uint8Array): TidemarkError => {
  try {
    const json: unknown = JSON.parse(utf8Decode(data));
    if (isPlainDetails(json)) {
      const { message, details } = json as { message?: unknown; details?: unknown };
      const text = typeof message === 'string' ? message.replace(`${code}: `, '') : '';
      return new TidemarkError(code, text, isPlainDetails(details) ? details : {});
    }
  } catch {
    // Falls through: the code alone says what to do.
  }
  return new TidemarkError(code, 'the server answered with an error');
};

/** Answer that has come whole: headers and body, which are bytes of the caller's own. */
export interface WholeAnswer {
  readonly headers: MsgHdrs | undefined;
  readonly data: Uint8Array;
}

/** Body of an answer; throws the failure that the answer carries. */
export const readAnswer = (message: WholeAnswer): Uint8Array => {
  const code = message.headers?.get(codeHeader) ?? '';
  if (code === '') return message.data;
  throw isCode(code)
    ? decodeFailure(code, message.data)
    : new TidemarkError('newer-protocol', 'the server answered with an unknown error', {});
};
