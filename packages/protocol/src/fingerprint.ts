import { toHex, utf8Encode, type Hash, type ServerVersion } from '@tidemark/model';

/** What a fingerprint covers of a record: its id and version. */
export interface FingerprintEntry {
  readonly id: string;
  readonly version: ServerVersion;
}

/**
 * Fingerprint of records in id order, as 32 hexadecimal digits: the hash over the scope hash and each
 * (id length, id, incarnation, n). Equal versions mean equal contents, so rows need not be read.
 */
export const fingerprintOf = (
  scopeHash: string,
  entries: readonly FingerprintEntry[],
  hash: Hash,
): string => {
  const ids = entries.map(({ id }) => utf8Encode(id));
  const prefix = utf8Encode(scopeHash);
  let length = prefix.length;
  for (const id of ids) length += 11 + id.length;
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  out.set(prefix, 0);
  let at = prefix.length;
  entries.forEach(({ version }, i) => {
    const id = ids[i] as Uint8Array;
    out[at] = id.length;
    out.set(id, at + 1);
    at += 1 + id.length;
    view.setUint32(at, version.incarnation);
    view.setUint16(at + 4, Math.floor(version.n / 2 ** 32));
    view.setUint32(at + 6, version.n % 2 ** 32);
    at += 10;
  });
  return toHex(hash(out.subarray(0, at)).subarray(0, 16));
};
