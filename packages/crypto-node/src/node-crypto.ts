import { createHash, createHmac } from 'node:crypto';
import type { Crypto } from '@tidemark/ports';
import { ed25519 } from './ed25519.js';

/** SHA-256, HMAC and Ed25519 of Node. */
export const nodeCrypto: Crypto = {
  sha256: (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest()),
  hmacSha256: (key, bytes) => new Uint8Array(createHmac('sha256', key).update(bytes).digest()),
  ed25519,
};
