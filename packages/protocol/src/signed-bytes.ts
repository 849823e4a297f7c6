import {
  fromHex,
  toBase64,
  toHex,
  utf8Encode,
  type Envelope,
  type Hash,
  type Receipt,
} from '@tidemark/model';

/*
 * What is signed is the UTF-8 text of a JSON array: first the purpose with its version, so that a signature for
 * one purpose never serves another, then texts, whole numbers, and hexadecimal hashes, in the order below.
 */
const bytesOf = (...parts: readonly (string | number)[]): Uint8Array =>
  utf8Encode(JSON.stringify(parts));

/**
 * Bytes that a replica signs for an envelope. `headAfter` stands for the transactions: the chain leads to it
 * only through their bytes, and still does after values were erased.
 */
export const envelopeBytes = (
  tenant: string,
  envelope: Omit<Envelope, 'signature' | 'transactions'>,
): Uint8Array =>
  bytesOf(
    'tidemark-envelope-1',
    tenant,
    envelope.replica,
    envelope.user,
    envelope.epoch,
    envelope.from,
    envelope.to,
    envelope.offsetMs,
    toHex(envelope.headBefore),
    toHex(envelope.headAfter),
  );

/** A call as its signature names it. */
export interface SignedCall {
  readonly tenant: string;
  readonly replica: string;
  readonly endpoint: string;
  readonly challenge: string;
  readonly body: Uint8Array;
}

/** Bytes that a replica signs for a call. */
export const callBytes = (call: SignedCall, hash: Hash): Uint8Array =>
  bytesOf(
    'tidemark-call-1',
    call.tenant,
    call.replica,
    call.endpoint,
    call.challenge,
    toHex(hash(call.body)),
  );

/** Bytes that a replica signs, with the key that it shares with its copy, for the copy's new id and key. */
export const cloneBytes = (
  tenant: string,
  origin: string,
  replica: string,
  publicKey: string,
): Uint8Array => bytesOf('tidemark-clone-1', tenant, origin, replica, publicKey);

/** Bytes that the tenant's receipt key signs. */
export const receiptBytes = (tenant: string, replica: string, receipt: Receipt): Uint8Array =>
  bytesOf(
    'tidemark-receipt-1',
    tenant,
    replica,
    receipt.incarnation,
    receipt.epoch,
    receipt.mergedTo,
    receipt.head,
    receipt.version,
    receipt.archivedTo,
  );

/** Id of a receipt key (hexadecimal): the first 16 digits of its hash. */
export const receiptKeyId = (publicKey: string, hash: Hash): string =>
  toHex(hash(fromHex(publicKey) ?? utf8Encode(publicKey))).slice(0, 16);

/** Puts a signature on a receipt. */
export const signReceipt = (
  receipt: Receipt,
  who: { readonly tenant: string; readonly replica: string },
  key: { readonly id: string; readonly sign: (bytes: Uint8Array) => Uint8Array },
): Receipt => ({
  ...receipt,
  signature: toBase64(key.sign(receiptBytes(who.tenant, who.replica, receipt))),
  keyId: key.id,
});
