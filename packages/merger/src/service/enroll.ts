import { cloneBytes, type Messages } from '@tidemark/protocol';
import {
  fromBase64,
  fromHex,
  isDeviceId,
  TidemarkError,
  toHex,
  tokensTable,
  utf8Encode,
} from '@tidemark/model';
import type { Caller, Timer } from '@tidemark/ports';
import { tokenOf } from '../fold/decide-identity.js';
import type { FoldState } from '../fold/fold-state.js';
import type { InputEntry } from '../fold/input-entry.js';
import { AbortSource } from './abort-source.js';
import {
  isProven,
  openProof,
  readEnrolment,
  systemRow,
  unauthenticated,
  type AuthenticateDeps,
} from './authenticate.js';

/** One-time tokens begin so: they never reach the embedder's hook. */
export const oneTimePrefix = 'tmk1_';
/** Longest token that is looked at, in characters. */
export const tokenCharactersMax = 16_384;
/** Longest time that the embedder's hook may take, ms. */
export const authenticateMsMax = 15_000;

/**
 * Embedder's word on a token: the user that it stands for, or null when it is refused. It runs outside of the
 * fold; what it says becomes input.
 */
export type AuthenticateHook = (
  token: string,
  about: { readonly tenant: string; readonly replica: string; readonly device: string | null },
) => Promise<{ readonly user: string } | null>;

/** What enrolling works with. */
export interface EnrollDeps extends AuthenticateDeps {
  readonly hook: AuthenticateHook | undefined;
  readonly timer: Timer;
  readonly submit: (entry: InputEntry) => Promise<FoldState>;
  /** Public keys (hexadecimal) that sign receipts. */
  readonly receiptKeys: readonly string[];
}

type EnrollEntry = Extract<InputEntry, { readonly kind: 'enroll' }>;
type Request = Messages['EnrollRequest'];
/** How a token, or an origin's signature, says that the replica may be enrolled. */
type Grounds = Pick<EnrollEntry, 'device' | 'token' | 'origin'>;

const refuse = (deps: EnrollDeps, caller: Caller): TidemarkError =>
  unauthenticated(deps, caller, 'token', 'the token is not accepted');

const fromOneTimeToken = async (
  deps: EnrollDeps,
  caller: Caller,
  token: string,
): Promise<Grounds> => {
  const hash = toHex(deps.crypto.sha256(utf8Encode(token)));
  let fields = await systemRow(deps, tokensTable, hash);
  if (fields === undefined) {
    await deps.settle();
    fields = await systemRow(deps, tokensTable, hash);
  }
  const known = fields && tokenOf(fields);
  const isOpen = known !== undefined && known.usedBy === null && known.user === caller.user;
  const isHere = caller.device === undefined || caller.device === known?.device;
  if (!isOpen || !isHere || deps.clock.nowMs() > known.expiresOn) throw refuse(deps, caller);
  return { device: known.device, token: hash, origin: null };
};

const fromHook = async (deps: EnrollDeps, caller: Caller, token: string): Promise<Grounds> => {
  const { hook, timer, tenant } = deps;
  if (hook === undefined) throw refuse(deps, caller);
  const device = caller.device ?? null;
  const over = new AbortSource();
  const late = timer.sleep(authenticateMsMax, over).then((): never => {
    throw new TidemarkError('timeout', 'who vouches for the token did not answer in time');
  });
  // Nobody may meet its failure once the hook has answered.
  late.catch(() => undefined);
  const asked = hook(token, { tenant, replica: caller.replica, device }).catch((cause: unknown) => {
    throw cause instanceof TidemarkError
      ? cause
      : new TidemarkError('unreachable', 'who vouches for the token failed', {}, cause);
  });
  const answer = await Promise.race([asked, late]).finally(() => over.abort());
  if (answer?.user !== caller.user) throw refuse(deps, caller);
  return { device: device ?? caller.replica, token: null, origin: null };
};

const fromOrigin = async (
  deps: EnrollDeps,
  caller: Caller,
  publicKey: string,
  origin: NonNullable<Request['origin']>,
): Promise<Grounds> => {
  const parent = await readEnrolment(deps, origin.replica);
  const key = fromHex(parent?.publicKey ?? '');
  const signature = fromBase64(origin.signature);
  const bytes = cloneBytes(deps.tenant, origin.replica, caller.replica, publicKey);
  const isSigned =
    key !== undefined &&
    signature !== undefined &&
    deps.crypto.ed25519.verify(key, bytes, signature);
  if (parent === undefined || !isSigned || parent.user !== caller.user) throw refuse(deps, caller);
  if (parent.isRevoked || parent.isDeviceRevoked)
    throw new TidemarkError('revoked', 'the replica that this one copies was revoked');
  if (caller.device !== undefined && caller.device !== parent.device) throw refuse(deps, caller);
  return { device: parent.device, token: null, origin: origin.replica };
};

const groundsOf = (deps: EnrollDeps, caller: Caller, request: Request): Promise<Grounds> => {
  const { token, origin, publicKey } = request;
  if (origin !== null) return fromOrigin(deps, caller, publicKey, origin);
  if (token === null || token.length > tokenCharactersMax) throw refuse(deps, caller);
  return token.startsWith(oneTimePrefix)
    ? fromOneTimeToken(deps, caller, token)
    : fromHook(deps, caller, token);
};

/**
 * Enrols the caller with the key that signed the call. Asked again after a lost answer, or after a server was
 * started again, it answers alike: the token is used once. Throws `unauthenticated`, `revoked`, `timeout`.
 */
export const answerEnroll = async (
  deps: EnrollDeps,
  caller: Caller,
  bytes: Uint8Array,
  decode: (body: Uint8Array) => Request,
): Promise<Messages['EnrollAnswer']> => {
  const { body, proof } = openProof(deps, caller, bytes);
  const request = decode(body);
  const { publicKey } = request;
  if (!/^[0-9a-f]{64}$/.test(publicKey))
    throw new TidemarkError('malformed-message', 'a key has 32 bytes in hexadecimal');
  if (!isProven(deps, caller, 'enroll', body, { proof, publicKey }))
    throw unauthenticated(deps, caller, 'signature', 'the signature does not verify');
  const known = await readEnrolment(deps, caller.replica);
  if (known?.isRevoked === true || known?.isDeviceRevoked === true)
    throw new TidemarkError('revoked', 'the replica was revoked', { replica: caller.replica });
  if (known?.publicKey !== publicKey || known.user !== caller.user) {
    const grounds = await groundsOf(deps, caller, request);
    if (!isDeviceId(grounds.device)) throw refuse(deps, caller);
    const { replica, user } = caller;
    await deps.submit({ kind: 'enroll', replica, user, publicKey, ...grounds });
  }
  // The order of the input decides: of two that bring one token, the first has it.
  const enrolled = await readEnrolment(deps, caller.replica);
  if (enrolled?.publicKey !== publicKey) throw refuse(deps, caller);
  const { user, device } = enrolled;
  return { user, device, receiptKeys: deps.receiptKeys };
};
