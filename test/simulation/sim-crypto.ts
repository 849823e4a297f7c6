import type { Crypto } from '@tidemark/ports';
import { crypto as real } from '../convergence/memory-parts.js';

/** Answers kept at most by each memory; then all are forgotten. */
const keptMax = 4_096;

const nameOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

const remembered = <A>(): ((name: string, work: () => A) => A) => {
  const kept = new Map<string, A>();
  return (name, work) => {
    const known = kept.get(name);
    if (known !== undefined) return known;
    const answer = work();
    if (kept.size >= keptMax) kept.clear();
    kept.set(name, answer);
    return answer;
  };
};

const secrets = remembered<Uint8Array>();
const publicKeys = remembered<Uint8Array>();
const signatures = remembered<Uint8Array>();
const verdicts = remembered<boolean>();
const { ed25519 } = real;

/** The same secret as the same object: production holds one for the life of a server, and opens it once. */
const held = (secret: Uint8Array): Uint8Array => secrets(nameOf(secret), () => secret.slice());

/**
 * The production cryptography. Ed25519 gives one signature for one key and text, and one verdict of it;
 * simulated servers are opened again, fold the same input each for itself and sign the same receipts by the
 * thousand, so each signature is made once, and looked at once.
 */
export const crypto: Crypto = {
  ...real,
  ed25519: {
    publicKey: (secret) =>
      publicKeys(nameOf(secret), () => ed25519.publicKey(held(secret))).slice(),
    sign: (secret, bytes) =>
      signatures(`${nameOf(secret)}${nameOf(bytes)}`, () =>
        ed25519.sign(held(secret), bytes),
      ).slice(),
    verify: (key, bytes, signature) =>
      // Lengths in front: where key, signature and text meet is part of the name.
      verdicts(
        `${key.length},${signature.length},${nameOf(key)}${nameOf(signature)}${nameOf(bytes)}`,
        () => ed25519.verify(key, bytes, signature),
      ),
  },
};
