import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify, type JSONWebKeySet } from 'jose';
import type { AuthenticateHook } from '@tidemark/merger';
import { TidemarkError } from '@tidemark/model';

/** Longest wait for the keys of an issuer, ms. */
export const jwksMsMax = 5_000;
/** Time for which fetched keys are used, ms; an unknown key is looked for at most every 30 s. */
export const jwksKeptMs = 600_000;
const jwksPauseMs = 30_000;
const toleranceMsDefault = 60_000;

/** Algorithms that are taken unless said otherwise: signatures by public keys only. */
const algorithmsDefault = ['EdDSA', 'ES256', 'ES384', 'ES512', 'PS256', 'RS256'] as const;

/** Options of `oidcAuthenticator`. */
export interface OidcOptions {
  /** The token's `iss`, letter by letter. */
  readonly issuer: string;
  /** The token's `aud`: this application. */
  readonly audience: string;
  /** Address of the issuer's keys, or the keys themselves. */
  readonly jwks: string | URL | JSONWebKeySet;
  /** Difference of clocks that is allowed, ms; a minute when left out. */
  readonly clockToleranceMs?: number;
  /** Claim that names the user; `sub` when left out. */
  readonly userClaim?: string;
  readonly algorithms?: readonly string[];
}

const check = ({ issuer, audience, clockToleranceMs = 0, jwks }: OidcOptions): void => {
  const bad = (option: string, message: string): never => {
    throw new TidemarkError('invalid-option', message, { option });
  };
  if (issuer === '') bad('issuer', 'the issuer of tokens is missing');
  if (audience === '') bad('audience', 'the audience of tokens is missing');
  if (!Number.isSafeInteger(clockToleranceMs) || clockToleranceMs < 0)
    bad('clockToleranceMs', 'clockToleranceMs is a number of ms');
  if (typeof jwks === 'string' && !URL.canParse(jwks)) bad('jwks', 'jwks is no address');
};

/** What jose says of the token itself; everything else is about the keys, and may pass. */
const isRefusal = (cause: unknown): boolean =>
  cause instanceof errors.JOSEError &&
  !(cause instanceof errors.JWKSTimeout) &&
  !(cause instanceof errors.JWKSInvalid) &&
  cause.code !== errors.JOSEError.code;

/**
 * Builds a hook that takes the tokens of an OpenID Connect issuer: signed by its keys, for this audience, not
 * expired. Refused tokens give null. Keys that cannot be fetched reject with `unreachable`: the device tries
 * again. Throws `invalid-option`.
 */
export const oidcAuthenticator = (options: OidcOptions): AuthenticateHook => {
  check(options);
  const { issuer, audience, jwks, clockToleranceMs = toleranceMsDefault } = options;
  const { userClaim = 'sub', algorithms = algorithmsDefault } = options;
  const keys =
    typeof jwks === 'string' || jwks instanceof URL
      ? createRemoteJWKSet(new URL(jwks), {
          timeoutDuration: jwksMsMax,
          cacheMaxAge: jwksKeptMs,
          cooldownDuration: jwksPauseMs,
        })
      : createLocalJWKSet(jwks);
  return async (token) => {
    try {
      const { payload } = await jwtVerify(token, keys as ReturnType<typeof createLocalJWKSet>, {
        issuer,
        audience,
        algorithms: [...algorithms],
        clockTolerance: clockToleranceMs / 1_000,
        requiredClaims: ['exp', userClaim],
      });
      const user = payload[userClaim];
      return typeof user === 'string' && user !== '' ? { user } : null;
    } catch (cause) {
      if (isRefusal(cause)) return null;
      throw new TidemarkError('unreachable', 'the keys of the issuer cannot be fetched', {}, cause);
    }
  };
};
