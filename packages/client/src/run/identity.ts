import {
  fromBase64,
  fromHex,
  isLeft,
  TidemarkError,
  toBase64,
  toHex,
  utf8Encode,
  type Envelope,
  type Receipt,
} from '@tidemark/model';
import type { AbortSignalLike, Crypto, Endpoint, Link, Logger, Timer } from '@tidemark/ports';
import {
  callBytes,
  cloneBytes,
  decodeMessage,
  encodeMessage,
  encodeSignedCall,
  envelopeBytes,
  receiptBytes,
  receiptKeyId,
  type EnrollRequest,
} from '@tidemark/protocol';
import type { LocalReplica } from '../local/local-replica.js';
import { abortSource } from './abort-source.js';
import type { ReplicaEvent } from './replica-event.js';

/** Longest time for which a run waits for `credentials`, ms; a later answer starts the next run by itself. */
export const credentialsMsMax = 5_000;
/** Times that one call is made while the server asks for a signature, a newer challenge, or an enrolment. */
export const callTriesMax = 5;
/** Longest challenge that is signed, in characters. */
export const challengeCharactersMax = 512;

/** What an application gives when the server asks who is there: a one-time token, or one of its own. */
export interface Credentials {
  readonly token: string;
}

/** How a replica proves who it is. */
export interface IdentityOptions {
  /** Secret of the installation, 32 bytes, the same at each call: keys of its replicas come from it. */
  readonly secret: () => Promise<Uint8Array>;
  /** Called when the server asks for it. It may wait for a person; while it does, edits go on. */
  readonly credentials?: () => Promise<Credentials>;
  /** Public keys (hexadecimal) that sign the server's receipts, where they are known beforehand. */
  readonly receiptKeys?: readonly string[];
}

/** What an identity works with. */
export interface IdentityPorts {
  readonly local: LocalReplica;
  readonly crypto: Crypto;
  readonly timer: Timer;
  readonly emit: (event: ReplicaEvent) => void;
  readonly logger?: Logger;
  readonly options: IdentityOptions | undefined;
  readonly moved: () => void;
  /** Called when credentials came after the run that asked for them had ended. */
  readonly wake: () => void;
}

interface ReplicaKey {
  readonly replica: string;
  readonly secret: Uint8Array;
  readonly publicKey: string;
}

const reasonOf = (cause: TidemarkError): string =>
  typeof cause.details['reason'] === 'string' ? cause.details['reason'] : '';

const isUnauthenticated = (cause: unknown): cause is TidemarkError =>
  cause instanceof TidemarkError && cause.code === 'unauthenticated';

/**
 * Identity of a replica: signs its calls and envelopes once the server asks for signatures, enrols it when the
 * server does not know it, and takes receipts only from the tenant's keys.
 */
export class Identity {
  readonly #ports: IdentityPorts;
  #key: ReplicaKey | null = null;
  #challenge: string | null = null;
  #needsAuth = false;
  /** Answer of the application that is still awaited. */
  #asking: Promise<void> | null = null;
  #token: string | null = null;

  constructor(ports: IdentityPorts) {
    this.#ports = ports;
  }

  /** True while sync waits for credentials. */
  needsAuth(): boolean {
    return this.#needsAuth;
  }

  /** Makes a call, signed when the server wants that. */
  async call(
    link: Link,
    endpoint: Endpoint,
    body: Uint8Array,
    signal: AbortSignalLike,
  ): Promise<Uint8Array> {
    let wasEnrolled = false;
    for (let tries = 1; ; tries += 1) {
      const isSigned = this.#challenge !== null;
      const sent = isSigned ? this.#signed(endpoint, body, await this.#ownKey()) : body;
      try {
        const answer = await link.request(endpoint, sent, signal);
        this.#settle();
        return answer;
      } catch (cause) {
        if (!isUnauthenticated(cause)) throw cause;
        this.#takeChallenge(cause);
        if (this.#ports.options === undefined) throw this.#waits(reasonOf(cause), cause);
        if (tries >= callTriesMax || wasEnrolled) throw this.#waits(reasonOf(cause), cause);
        if (needsEnrolment(cause, isSigned)) {
          await this.#enrol(link, signal);
          wasEnrolled = true;
        }
      }
    }
  }

  /** Signature of an envelope; empty while the server has not asked for any. */
  async signEnvelope(envelope: Omit<Envelope, 'signature' | 'transactions'>): Promise<string> {
    if (this.#challenge === null) return '';
    const { secret } = await this.#ownKey();
    const bytes = envelopeBytes(this.#ports.local.meta().tenant, envelope);
    return toBase64(this.#ports.crypto.ed25519.sign(secret, bytes));
  }

  /** Refuses a receipt that none of the known keys signed. Throws `forged-receipt`. */
  checkReceipt(receipt: Receipt): void {
    const keys = this.#receiptKeys();
    if (keys.length === 0) return;
    const { local, crypto } = this.#ports;
    const { tenant, replica } = local.meta();
    const { signature: text, keyId } = receipt;
    const key = keys.find((one) => receiptKeyId(one, crypto.sha256) === keyId);
    const signature = fromBase64(text ?? '');
    const bytes = receiptBytes(tenant, replica, receipt);
    const publicKey = key === undefined ? undefined : fromHex(key);
    if (
      publicKey !== undefined &&
      signature !== undefined &&
      crypto.ed25519.verify(publicKey, bytes, signature)
    )
      return;
    throw new TidemarkError('forged-receipt', 'a receipt is not signed by a known key', {
      key: keyId ?? '',
    });
  }

  #receiptKeys(): readonly string[] {
    return this.#ports.options?.receiptKeys ?? this.#ports.local.meta().receiptKeys ?? [];
  }

  #settle(): void {
    if (!this.#needsAuth) return;
    this.#needsAuth = false;
    this.#ports.moved();
  }

  #waits(reason: string, cause: TidemarkError): TidemarkError {
    const { emit, moved, logger } = this.#ports;
    if (!this.#needsAuth) {
      this.#needsAuth = true;
      emit({ type: 'needs-auth', reason });
      logger?.log('warn', 'the server asks who this is; edits go on, sync waits', { reason });
      moved();
    }
    return cause;
  }

  #takeChallenge(cause: TidemarkError): void {
    const { challenge } = cause.details;
    if (typeof challenge === 'string' && challenge.length <= challengeCharactersMax)
      this.#challenge = challenge;
  }

  async #keyOf(replica: string): Promise<ReplicaKey> {
    const { crypto, options } = this.#ports;
    const seed = await options?.secret();
    if (seed?.length !== 32)
      throw new TidemarkError('storage-damaged', 'the key of the installation has not 32 bytes');
    const secret = crypto.hmacSha256(seed, utf8Encode(`tidemark replica key 1\n${replica}`));
    return { replica, secret, publicKey: toHex(crypto.ed25519.publicKey(secret)) };
  }

  async #ownKey(): Promise<ReplicaKey> {
    const { replica } = this.#ports.local.meta();
    if (this.#key?.replica !== replica) this.#key = await this.#keyOf(replica);
    return this.#key;
  }

  #signed(endpoint: Endpoint, body: Uint8Array, key: ReplicaKey): Uint8Array {
    const { local, crypto } = this.#ports;
    const { tenant, replica } = local.meta();
    const challenge = this.#challenge ?? '';
    const bytes = callBytes({ tenant, replica, endpoint, challenge, body }, crypto.sha256);
    const signature = toBase64(crypto.ed25519.sign(key.secret, bytes));
    return encodeSignedCall({ challenge, signature }, body);
  }

  /** Enrols the replica: as a copy of the one that it was, else by what the application gives. */
  async #enrol(link: Link, signal: AbortSignalLike): Promise<void> {
    const { local, crypto } = this.#ports;
    const meta = local.meta();
    const key = await this.#ownKey();
    const origin = meta.origins.at(-1);
    if (origin !== undefined) {
      const old = await this.#keyOf(origin.replica);
      const bytes = cloneBytes(meta.tenant, origin.replica, meta.replica, key.publicKey);
      const signature = toBase64(crypto.ed25519.sign(old.secret, bytes));
      const asCopy = { token: null, origin: { replica: origin.replica, signature } };
      if (await this.#tryEnrol(link, { ...asCopy, publicKey: key.publicKey }, signal)) return;
    }
    const token = await this.#askForToken(signal);
    const request = { publicKey: key.publicKey, token, origin: null };
    if (await this.#tryEnrol(link, request, signal)) return;
    // What was refused once will be refused again: the application is asked for another one.
    this.#token = null;
    throw this.#waits(
      'token',
      new TidemarkError('unauthenticated', 'the server refused the credentials'),
    );
  }

  /** False when the grounds were refused. */
  async #tryEnrol(link: Link, request: EnrollRequest, signal: AbortSignalLike): Promise<boolean> {
    const { local, emit } = this.#ports;
    const key = await this.#ownKey();
    const body = encodeMessage('EnrollRequest', request);
    for (let tries = 1; tries <= callTriesMax; tries += 1) {
      try {
        const bytes = await link.request('enroll', this.#signed('enroll', body, key), signal);
        const decoded = decodeMessage('EnrollAnswer', bytes);
        if (isLeft<TidemarkError, unknown>(decoded)) throw decoded.left;
        const { receiptKeys, device, user } = decoded.right.message;
        if (this.#ports.options?.receiptKeys === undefined) await local.updateMeta({ receiptKeys });
        this.#token = null;
        emit({ type: 'enrolled', replica: key.replica, user, device });
        return true;
      } catch (cause) {
        if (!isUnauthenticated(cause)) {
          const isRefused = cause instanceof TidemarkError && cause.code === 'revoked';
          if (isRefused && request.origin !== null) return false;
          throw cause;
        }
        this.#takeChallenge(cause);
        const reason = reasonOf(cause);
        if (reason !== 'challenge' && reason !== 'signature-needed') return false;
      }
    }
    return false;
  }

  /** Token of the application; rejects with `unauthenticated` when it has none in time. */
  async #askForToken(signal: AbortSignalLike): Promise<string> {
    if (this.#token === null) {
      const over = abortSource(signal);
      const asking = (this.#asking ??= this.#ask().finally(() => {
        this.#asking = null;
      }));
      await Promise.race([asking, this.#ports.timer.sleep(credentialsMsMax, over.signal)]);
      over.abort();
      over.release();
    }
    if (this.#token !== null) return this.#token;
    if (signal.aborted) throw new TidemarkError('aborted', 'the run was cancelled');
    throw this.#waits(
      'credentials',
      new TidemarkError('unauthenticated', 'there are no credentials for the server yet'),
    );
  }

  async #ask(): Promise<void> {
    const { options, logger, wake } = this.#ports;
    if (options?.credentials === undefined) return;
    try {
      const { token } = await options.credentials();
      if (typeof token === 'string' && token !== '') this.#token = token;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.name : typeof cause;
      logger?.log('warn', 'credentials() failed', { reason });
    }
    if (this.#needsAuth && this.#token !== null) wake();
  }
}

/** A signature was asked for and given, and still the server does not know the replica or its key. */
const needsEnrolment = (cause: TidemarkError, wasSigned: boolean): boolean => {
  const reason = reasonOf(cause);
  return reason === 'unknown-replica' || (wasSigned && reason === 'signature');
};
