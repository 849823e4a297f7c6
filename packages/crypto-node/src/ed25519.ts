import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import type { Ed25519 } from '@tidemark/ports';

/** Public keys kept ready at most: taking one apart costs a good part of a verification. */
export const keysKeptMax = 1_024;

const keyBytes = 32;
const signatureBytes = 64;
// A key of 32 bytes is the end of a fixed DER frame (RFC 8410).
const secretFrame = Buffer.from('302e020100300506032b657004220420', 'hex');
const publicFrame = Buffer.from('302a300506032b6570032100', 'hex');

/** Opened secrets, as long as their owner holds them: opening one costs as much as many signatures. */
const opened = new WeakMap<Uint8Array, KeyObject>();

const secretKey = (secret: Uint8Array): KeyObject => {
  const known = opened.get(secret);
  if (known !== undefined) return known;
  if (secret.length !== keyBytes) throw new RangeError('a secret key has 32 bytes');
  const key = createPrivateKey({
    key: Buffer.concat([secretFrame, secret]),
    format: 'der',
    type: 'pkcs8',
  });
  opened.set(secret, key);
  return key;
};

const kept = new Map<string, KeyObject>();

const publicKey = (bytes: Uint8Array): KeyObject | undefined => {
  if (bytes.length !== keyBytes) return undefined;
  const name = Buffer.from(bytes).toString('latin1');
  const known = kept.get(name);
  if (known !== undefined) return known;
  try {
    const key = createPublicKey({
      key: Buffer.concat([publicFrame, bytes]),
      format: 'der',
      type: 'spki',
    });
    const [oldest] = kept.keys();
    if (kept.size >= keysKeptMax && oldest !== undefined) kept.delete(oldest);
    kept.set(name, key);
    return key;
  } catch {
    return undefined;
  }
};

/** Ed25519 of Node's OpenSSL. All servers of a tenant verify by it, so that they agree on odd signatures. */
export const ed25519: Ed25519 = {
  publicKey: (secret) => {
    const der = createPublicKey(secretKey(secret)).export({ format: 'der', type: 'spki' });
    return new Uint8Array(der.subarray(publicFrame.length));
  },
  sign: (secret, bytes) => new Uint8Array(sign(null, bytes, secretKey(secret))),
  verify: (key, bytes, signature) => {
    const known = signature.length === signatureBytes ? publicKey(key) : undefined;
    return known !== undefined && verify(null, bytes, known, signature);
  },
};
