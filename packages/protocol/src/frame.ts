import {
  invariant,
  isDeepJson,
  left,
  right,
  utf8Decode,
  utf8Encode,
  type Result,
} from '@tidemark/model';

/** Newest version of the protocol that this package speaks. A side refuses greater ones. */
export const protocolVersion = 1;

/** Versions of the protocol that a side understands, both ends included. */
export interface Protocols {
  readonly oldest: number;
  readonly newest: number;
}

/** What this package understands: its own version and the one before. */
export const spokenProtocols: Protocols = {
  oldest: Math.max(1, protocolVersion - 1),
  newest: protocolVersion,
};

/** Message as a side of this version of the protocol reads it: it is answered as it asked. Changes the bytes. */
export const inProtocol = (message: Uint8Array, version: number): Uint8Array => {
  if (message.length > 0) message[0] = version;
  return message;
};

/** Maximum bytes of a message: what NATS accepts by default, less room for headers. */
export const messageBytesMax = 1_000_000;
/** Maximum bytes of the JSON part of a message. */
export const messageJsonBytesMax = 512 * 1024;

/** Message: a JSON part, decoded by the codec of its kind, and bytes that are only forwarded. */
export interface Frame {
  readonly json: unknown;
  readonly tail: Uint8Array;
}

/**
 * Encodes a message: version byte, length of the JSON part (4 bytes, big-endian), JSON, the parts of the tail.
 *
 * Throws InvariantViolation over `messageBytesMax` or `messageJsonBytesMax`: no receiver would take it.
 */
export const encodeFrame = (json: unknown, tail: readonly Uint8Array[] = []): Uint8Array => {
  const text = utf8Encode(JSON.stringify(json));
  invariant(text.length <= messageJsonBytesMax, 'the JSON part of a message is too long');
  const length = tail.reduce((sum, part) => sum + part.length, 5 + text.length);
  invariant(length <= messageBytesMax, 'a message is too long');
  const out = new Uint8Array(length);
  out[0] = protocolVersion;
  new DataView(out.buffer).setUint32(1, text.length);
  out.set(text, 5);
  let at = 5 + text.length;
  for (const part of tail) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

/** Reason why bytes are not a message. */
export type FrameProblem = 'newer-protocol' | 'protocol-too-old' | 'malformed-message';

/** Decodes a message's frame. Lengths and depth are checked before anything is parsed. */
export const decodeFrame = (
  bytes: Uint8Array,
  { oldest, newest }: Protocols = spokenProtocols,
): Result<FrameProblem, Frame> => {
  if (bytes.length < 5 || bytes.length > messageBytesMax) return left('malformed-message');
  const version = bytes[0] as number;
  if (version > newest) return left('newer-protocol');
  if (version > 0 && version < oldest) return left('protocol-too-old');
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(1);
  if (version === 0 || length > messageJsonBytesMax || 5 + length > bytes.length)
    return left('malformed-message');
  const text = bytes.subarray(5, 5 + length);
  if (isDeepJson(text)) return left('malformed-message');
  try {
    return right({
      json: JSON.parse(utf8Decode(text)) as unknown,
      tail: bytes.subarray(5 + length),
    });
  } catch {
    return left('malformed-message');
  }
};
