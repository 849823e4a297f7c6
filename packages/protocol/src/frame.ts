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
/** Most bytes to which a packed tail of a message unpacks: longer answers cost both sides less for each row. */
export const unpackedBytesMax = 2 * messageBytesMax;
/** Maximum bytes of the JSON part of a message. */
export const messageJsonBytesMax = 512 * 1024;

/** Message: a JSON part, decoded by the codec of its kind, and bytes that are only forwarded. */
export interface Frame {
  readonly json: unknown;
  readonly tail: Uint8Array;
}

/** Part of a tail that is written when the message is, straight to its place: nothing is copied twice. */
export interface WrittenPart {
  readonly length: number;
  /** Writes the part; `out` is exactly as long as the part, and zeroed. */
  readonly write: (out: Uint8Array) => void;
}

/** Part of the tail of a message. */
export type TailPart = Uint8Array | WrittenPart;

const lengthOf = (parts: readonly TailPart[]): number =>
  parts.reduce((sum, { length }) => sum + length, 0);

const writeParts = (parts: readonly TailPart[], out: Uint8Array, from: number): void => {
  let at = from;
  for (const part of parts) {
    if (part instanceof Uint8Array) out.set(part, at);
    else part.write(out.subarray(at, at + part.length));
    at += part.length;
  }
};

/** Tail of these parts. */
export const joinTail = (parts: readonly TailPart[]): Uint8Array => {
  const out = new Uint8Array(lengthOf(parts));
  writeParts(parts, out, 0);
  return out;
};

/**
 * Encodes a message: version byte, length of the JSON part (4 bytes, big-endian), JSON, the parts of the tail.
 *
 * Throws InvariantViolation over `messageBytesMax` or `messageJsonBytesMax`: no receiver would take it.
 */
export const encodeFrame = (json: unknown, tail: readonly TailPart[] = []): Uint8Array => {
  const text = utf8Encode(JSON.stringify(json));
  invariant(text.length <= messageJsonBytesMax, 'the JSON part of a message is too long');
  const length = 5 + text.length + lengthOf(tail);
  invariant(length <= messageBytesMax, 'a message is too long');
  const out = new Uint8Array(length);
  out[0] = protocolVersion;
  new DataView(out.buffer).setUint32(1, text.length);
  out.set(text, 5);
  writeParts(tail, out, 5 + text.length);
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
