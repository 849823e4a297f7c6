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

/** SHA-256, HMAC and Ed25519 of Node. */
export const nodeCrypto: Crypto = {
  sha256:
    oneShot === undefined
      ? (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest())
      : (bytes) => bytesOf(oneShot('sha256', bytes, 'binary')),
  hmacSha256: (key, bytes) => new Uint8Array(createHmac('sha256', key).update(bytes).digest()),
  ed25519,
};
