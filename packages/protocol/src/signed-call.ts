import * as t from 'io-ts';
import * as E from 'fp-ts/lib/Either.js';
import { utf8Encode } from '@tidemark/model';
import { decodeFrame, encodeFrame } from './frame.js';

/** Proof that a replica made a call: the server's challenge, and the signature (base64) of `callBytes`. */
export interface CallProof {
  readonly challenge: string;
  readonly signature: string;
}

const SignedJson = t.type({ proof: t.type({ challenge: t.string, signature: t.string }) });
const start = utf8Encode('{"proof":');
const headerBytes = 5;

/** Puts a proof before the message of a call. */
export const encodeSignedCall = (proof: CallProof, body: Uint8Array): Uint8Array =>
  encodeFrame({ proof: { challenge: proof.challenge, signature: proof.signature } }, [body]);

/** Message of a call and its proof; null when it has none. */
export const openSignedCall = (
  bytes: Uint8Array,
): { readonly proof: CallProof | null; readonly body: Uint8Array } => {
  const plain = { proof: null, body: bytes };
  // No message of its own begins like this: most calls are told apart without being parsed twice.
  if (!start.every((byte, i) => bytes[headerBytes + i] === byte)) return plain;
  const frame = decodeFrame(bytes);
  if (E.isLeft(frame)) return plain;
  const decoded = SignedJson.decode(frame.right.json);
  return E.isLeft(decoded) ? plain : { proof: decoded.right.proof, body: frame.right.tail };
};
