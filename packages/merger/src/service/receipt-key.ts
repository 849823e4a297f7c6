import { toHex, utf8Encode, type Receipt } from '@tidemark/model';
import type { Crypto } from '@tidemark/ports';
import { receiptKeyId, signReceipt } from '@tidemark/protocol';

/** Key that signs a tenant's receipts. */
export interface ReceiptKey {
  /** Ed25519, hexadecimal. */
  readonly publicKey: string;
  readonly sign: (replica: string, receipt: Receipt) => Receipt;
}

/**
 * Key that signs the receipts of a tenant, derived from the key of its cursors: whoever shares that, or restores
 * it from a backup, has the same one.
 */
export const createReceiptKey = (
  tenant: string,
  cursorKey: Uint8Array,
  { sha256, hmacSha256, ed25519 }: Crypto,
): ReceiptKey => {
  const secret = hmacSha256(cursorKey, utf8Encode(`tidemark receipt key 1\n${tenant}`));
  const publicKey = toHex(ed25519.publicKey(secret));
  const key = {
    id: receiptKeyId(publicKey, sha256),
    sign: (bytes: Uint8Array) => ed25519.sign(secret, bytes),
  };
  return { publicKey, sign: (replica, receipt) => signReceipt(receipt, { tenant, replica }, key) };
};
