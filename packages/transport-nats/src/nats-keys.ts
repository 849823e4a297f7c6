import { Algorithms, encodeAccount, encodeOperator, encodeUser, fmtCreds } from '@nats-io/jwt';
import { connect } from '@nats-io/transport-node';
import { createAccount, createOperator, createUser, fromSeed, type KeyPair } from '@nats-io/nkeys';
import { TidemarkError, utf8Decode, utf8Encode } from '@tidemark/model';
import { connectOptions } from './connect-options.js';
import { connectionFailure } from './failure.js';
import { checkPlace, type NatsPlace } from './nats-transport.js';
import { inboxPrefixOf, tenantToken, tickSubject } from './subjects.js';

/** Longest wait for the word of NATS that it knows an account anew, ms. */
export const claimsMsMax = 5_000;

/** Seeds of a NATS of one's own: who has them may do everything there. */
export interface NatsKeys {
  readonly operator: string;
  readonly account: string;
  readonly system: string;
}

/** Signed statements of the operator, as the configuration of nats-server holds them. No secrets. */
export interface NatsClaims {
  readonly operator: string;
  readonly accountId: string;
  readonly account: string;
  readonly systemId: string;
  readonly system: string;
}

/** A credential: the content of a credentials file, and the public key by which it is revoked. */
export interface NatsCredential {
  readonly credentials: string;
  readonly publicKey: string;
}

const options = { algorithm: Algorithms.v2 };
const seedOf = (pair: KeyPair): string => utf8Decode(pair.getSeed());
const pairOf = (seed: string): KeyPair => {
  try {
    return fromSeed(utf8Encode(seed));
  } catch (cause) {
    throw new TidemarkError('storage-damaged', 'a key of NATS cannot be read', {}, cause);
  }
};

const unlimited = -1;
const natsLimits = { data: unlimited, payload: unlimited, subs: unlimited } as const;
const accountLimits = {
  ...natsLimits,
  imports: unlimited,
  exports: unlimited,
  wildcards: true,
  conn: unlimited,
  leaf: unlimited,
};
const streamLimits = {
  mem_storage: unlimited,
  disk_storage: unlimited,
  streams: unlimited,
  consumer: unlimited,
};

/** Makes the keys of a new NATS: operator, one account for servers and devices, and the system account. */
export const createNatsKeys = (): NatsKeys => ({
  operator: seedOf(createOperator()),
  account: seedOf(createAccount()),
  system: seedOf(createAccount()),
});

/** What the operator says of its accounts. `revoked`: public keys of users and since when, in s since 1970. */
export const natsClaims = async (
  keys: NatsKeys,
  revoked: Readonly<Record<string, number>>,
): Promise<NatsClaims> => {
  const operator = pairOf(keys.operator);
  const account = pairOf(keys.account);
  const system = pairOf(keys.system);
  const signed = { ...options, signer: operator };
  const systemId = system.getPublicKey();
  return {
    operator: await encodeOperator('tidemark', operator, { system_account: systemId }, options),
    accountId: account.getPublicKey(),
    account: await encodeAccount(
      'tidemark',
      account,
      { limits: { ...accountLimits, ...streamLimits }, revocations: { ...revoked } },
      signed,
    ),
    systemId,
    system: await encodeAccount('system', system, { limits: accountLimits }, signed),
  };
};

const credentialOf = async (
  name: string,
  issuer: string,
  allowed: { readonly publish: readonly string[]; readonly subscribe: readonly string[] } | null,
): Promise<NatsCredential> => {
  const user = createUser();
  const permissions =
    allowed === null
      ? {}
      : { pub: { allow: [...allowed.publish] }, sub: { allow: [...allowed.subscribe] } };
  const jwt = await encodeUser(
    name,
    user,
    pairOf(issuer),
    { ...natsLimits, ...permissions },
    options,
  );
  return { credentials: utf8Decode(fmtCreds(jwt, user)), publicKey: user.getPublicKey() };
};

/** Subjects that a device may use: its own uploads and calls, its own inboxes, the ticks of its tenant. */
export const deviceSubjects = (
  tenant: string,
  device: string,
): { readonly publish: readonly string[]; readonly subscribe: readonly string[] } => {
  const token = tenantToken(tenant);
  return {
    publish: [`tm.${token}.ops.*.${device}.*`, `tm.${token}.ask.*.${device}.*`],
    subscribe: [`${inboxPrefixOf(device)}.>`, tickSubject(token)],
  };
};

/** Makes the credential of a device. */
export const deviceCredential = (
  keys: NatsKeys,
  { tenant, device }: { readonly tenant: string; readonly device: string },
): Promise<NatsCredential> =>
  credentialOf(`device ${device}`, keys.account, deviceSubjects(tenant, device));

/** Makes the credential of servers: all tenants of the account, its streams, nothing of the system. */
export const serverCredential = (keys: NatsKeys): Promise<NatsCredential> =>
  credentialOf('server', keys.account, {
    publish: ['tm.>', '_INBOX.>', '$JS.API.>', '$JS.ACK.>', '$JS.FC.>'],
    subscribe: ['tm.>', '_INBOX.>'],
  });

/** Makes the credential that may tell NATS of accounts: for revoking, on the operator's machine only. */
export const systemCredential = (keys: NatsKeys): Promise<NatsCredential> =>
  credentialOf('system', keys.system, {
    publish: ['$SYS.REQ.CLAIMS.UPDATE'],
    subscribe: ['_INBOX.>'],
  });

/**
 * Configuration of nats-server by which it believes the operator. `folder`: where it keeps accounts that it is
 * told of while it runs. Texts in it need no escapes: they are base64, and the folder is quoted.
 */
export const natsAuthConf = (claims: NatsClaims, folder: string): string =>
  [
    '# Written by tidemark: which credentials this NATS believes. No secrets are in here.',
    `operator: ${claims.operator}`,
    `system_account: ${claims.systemId}`,
    `resolver { type: full, dir: ${JSON.stringify(folder)}, allow_delete: false, interval: "2m" }`,
    'resolver_preload {',
    `  ${claims.accountId}: ${claims.account}`,
    `  ${claims.systemId}: ${claims.system}`,
    '}',
    '',
  ].join('\n');

/**
 * Tells a running NATS what the operator says of the account now: connections of revoked users end at once.
 * `place` has the system credential. Rejects with `unreachable`, `timeout`, `denied`.
 */
export const pushClaims = async (place: NatsPlace, claims: NatsClaims): Promise<void> => {
  checkPlace(place);
  try {
    const connection = await connect({ ...connectOptions(place), reconnect: false });
    try {
      const answer = await connection.request(
        '$SYS.REQ.CLAIMS.UPDATE',
        utf8Encode(claims.account),
        { timeout: claimsMsMax },
      );
      const { data, error } = JSON.parse(utf8Decode(answer.data)) as {
        readonly data?: { readonly code?: number };
        readonly error?: { readonly description?: string };
      };
      if (data?.code !== 200)
        throw new TidemarkError('denied', 'NATS did not take the account', {
          reason: error?.description ?? '',
        });
    } finally {
      await connection.close();
    }
  } catch (cause) {
    throw connectionFailure(cause);
  }
};
