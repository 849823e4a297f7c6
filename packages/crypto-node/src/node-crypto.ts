import * as ofNode from 'node:crypto';
import type { Crypto } from '@tidemark/ports';
import { ed25519 } from './ed25519.js';

const { createHash, createHmac } = ofNode;
const hashBytes = 32;

/** One call for a hash: it came with Node 20.12. */
const oneShot: typeof ofNode.hash | undefined = ofNode.hash;

/** A text of as many characters as bytes: Node makes it in half of the time that a Buffer takes. */
const bytesOf = (text: string): Uint8Array => {
  const bytes = new Uint8Array(hashBytes);
  for (let i = 0; i < hashBytes; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes;
};

const blockBytes = 64;

/** HMAC of RFC 2104 by two hashes of one call each: an object for it costs more than both. */
const hmacOf = (hash: (bytes: Uint8Array) => Uint8Array): Crypto['hmacSha256'] => {
  return (key, bytes) => {
    const short = key.length > blockBytes ? hash(key) : key;
    const inner = new Uint8Array(blockBytes + bytes.length).fill(0x36, 0, blockBytes);
    const outer = new Uint8Array(blockBytes + hashBytes).fill(0x5c, 0, blockBytes);
    for (let i = 0; i < short.length; i += 1) {
      inner[i] = (short[i] as number) ^ 0x36;
      outer[i] = (short[i] as number) ^ 0x5c;
    }
    inner.set(bytes, blockBytes);
    outer.set(hash(inner), blockBytes);
    return hash(outer);
  };
};

const sha256 =
  oneShot === undefined
    ? (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest())
    : (bytes: Uint8Array): Uint8Array => bytesOf(oneShot('sha256', bytes, 'binary'));

/** SHA-256, HMAC and Ed25519 of Node. */
export const nodeCrypto: Crypto = {
  sha256,
  hmacSha256:
    oneShot === undefined
      ? (key, bytes) => new Uint8Array(createHmac('sha256', key).update(bytes).digest())
      : hmacOf(sha256),
  ed25519,
};
