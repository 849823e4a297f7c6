import { scopeText, type Scope } from '@tidemark/filter';
import { toHex, utf8Encode, type Hash } from '@tidemark/model';

/**
 * Hash of a scope, 32 hexadecimal digits: device and server put it into cursors and range fingerprints.
 *
 * It is taken over the canonical text, so equal scopes have equal hashes however they were written.
 */
export const scopeHashOf = (scope: Scope, hash: Hash): string =>
  toHex(hash(utf8Encode(scopeText(scope))).subarray(0, 16));
