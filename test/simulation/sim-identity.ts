import type { IdentityOptions } from '@tidemark/client';
import type { InputEntry } from '@tidemark/merger';
import { toHex, utf8Encode } from '@tidemark/model';
import { crypto } from './sim-crypto.js';

/*
 * Identities of a simulated world: an installation's secret comes from its name, and the embedder's hook takes
 * the word of a user. What is simulated is what is signed, not who gives out tokens.
 */

const wordOf = 'word of ';

/** Secret of an installation, 32 bytes. */
export const secretOf = (installation: string): Uint8Array =>
  crypto.sha256(utf8Encode(`secret of ${installation}`));

/** Secret key of a replica of an installation, as the specification derives it. */
export const replicaKey = (installation: string, replica: string): Uint8Array =>
  crypto.hmacSha256(secretOf(installation), utf8Encode(`tidemark replica key 1\n${replica}`));

/** What a device proves itself with. */
export const identityOf = (installation: string, user: string): IdentityOptions => ({
  secret: () => Promise.resolve(secretOf(installation)),
  credentials: () => Promise.resolve({ token: `${wordOf}${user}` }),
});

/** The embedder's hook: a user's word is taken. */
export const authenticate = (token: string): Promise<{ readonly user: string } | null> =>
  Promise.resolve(token.startsWith(wordOf) ? { user: token.slice(wordOf.length) } : null);

/** A replica that was enrolled and revoked before anything else: its key is known, and its word counts nothing. */
export const revokedReplica = 'fired-1';
export const revokedUser = 'user-of-fired';

/** First entries of a world with identities: the demand, and who was let go. */
export const firstIdentities: readonly InputEntry[] = [
  { kind: 'policy', by: 'admin', identities: 'required' },
  {
    kind: 'enroll',
    replica: revokedReplica,
    user: revokedUser,
    device: revokedReplica,
    publicKey: toHex(crypto.ed25519.publicKey(replicaKey(revokedReplica, revokedReplica))),
    token: null,
    origin: null,
  },
  { kind: 'revoke', by: 'admin', of: 'replica', id: revokedReplica },
];
