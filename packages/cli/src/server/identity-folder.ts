import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import * as t from 'io-ts';
import { isLeft, TidemarkError } from '@tidemark/model';
import {
  createNatsKeys,
  deviceCredential,
  natsAuthConf,
  natsClaims,
  serverCredential,
  systemCredential,
  type NatsClaims,
  type NatsKeys,
} from '@tidemark/server';
import { UsageError } from '../failure.js';
import { writeWhole } from '../state-file.js';
import { isThere } from './paths.js';

const KeysJson = t.type({
  format: t.literal(1),
  operator: t.string,
  account: t.string,
  system: t.string,
});
const DevicesJson = t.type({
  format: t.literal(1),
  devices: t.record(
    t.string,
    t.type({
      user: t.string,
      tenant: t.string,
      /** Public keys of its credentials, oldest first. */
      natsKeys: t.array(t.string),
      revokedOn: t.union([t.number, t.null]),
    }),
  ),
});
type Devices = t.TypeOf<typeof DevicesJson>['devices'];

const keysFile = 'keys.json';
/** Names of files in the folder. */
export const identityFiles = {
  devices: 'devices.json',
  auth: 'nats-auth.conf',
  server: 'server.creds',
  system: 'system.creds',
} as const;
const {
  devices: devicesFile,
  auth: authFile,
  server: serverFile,
  system: systemFile,
} = identityFiles;
const exampleFile = 'nats-server.conf';
const secretMode = 0o600;

/** Credentials that one device may have had. */
export const credentialsPerDeviceMax = 64;

const decodeFile = async <A>(file: string, codec: t.Decoder<unknown, A>): Promise<A> => {
  const bad = new TidemarkError('storage-damaged', `${file} cannot be read`);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch {
    throw bad;
  }
  const decoded = codec.decode(json);
  if (isLeft<unknown, unknown>(decoded)) throw bad;
  return decoded.right as A;
};

/** Files that `identity init` wrote. */
export interface IdentityFiles {
  readonly folder: string;
  /** To be included in the configuration of nats-server. */
  readonly auth: string;
  /** Credential of servers: setting `nats.credentials`. */
  readonly server: string;
  /** Whole configuration of a nats-server, as an example. */
  readonly example: string;
}

/** Keys of NATS, and which credentials were made with them: a folder on the operator's machine. */
export class IdentityFolder {
  readonly #folder: string;
  readonly #keys: NatsKeys;
  #devices: Devices;

  private constructor(folder: string, keys: NatsKeys, devices: Devices) {
    this.#folder = folder;
    this.#keys = keys;
    this.#devices = devices;
  }

  /** Makes keys, credentials of servers and configuration. Throws UsageError where there are some. */
  static async create(
    folder: string,
    nats: { readonly listen: string; readonly store: string },
  ): Promise<IdentityFiles> {
    if (await isThere(path.join(folder, keysFile)))
      throw new UsageError(
        `${folder} holds keys already`,
        'Name another folder by identity.folder: keys that are lost cannot be made again.',
      );
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const keys = createNatsKeys();
    const made = new IdentityFolder(folder, keys, {});
    const server = await serverCredential(keys);
    const system = await systemCredential(keys);
    await made.#write(serverFile, server.credentials);
    await made.#write(systemFile, system.credentials);
    await made.#writeClaims();
    await made.#write(exampleFile, exampleConf(made.#file(authFile), nats));
    await made.#writeDevices();
    // Written last: without it the folder is not complete.
    await made.#write(keysFile, `${JSON.stringify({ format: 1, ...keys }, null, 2)}\n`);
    return {
      folder,
      auth: made.#file(authFile),
      server: made.#file(serverFile),
      example: made.#file(exampleFile),
    };
  }

  /** Opens the folder; undefined when NATS has no keys of this command. Rejects with `storage-damaged`. */
  static async open(folder: string): Promise<IdentityFolder | undefined> {
    if (!(await isThere(path.join(folder, keysFile)))) return undefined;
    const { operator, account, system } = await decodeFile(path.join(folder, keysFile), KeysJson);
    const { devices } = await decodeFile(path.join(folder, devicesFile), DevicesJson);
    return new IdentityFolder(folder, { operator, account, system }, devices);
  }

  /** Makes a credential of NATS for a device, and notes its public key: by that it is revoked. */
  async issue(device: string, about: { readonly user: string; readonly tenant: string }) {
    const known = this.#devices[device];
    if (known !== undefined && known.revokedOn !== null)
      throw new UsageError(`the device ${device} was revoked`, 'Give it another name.');
    if (known !== undefined && (known.user !== about.user || known.tenant !== about.tenant))
      throw new UsageError(
        `the device ${device} is of user ${known.user}`,
        'Give this one another name.',
      );
    const before = known?.natsKeys ?? [];
    if (before.length >= credentialsPerDeviceMax)
      throw new UsageError(
        `the device ${device} has had ${credentialsPerDeviceMax} credentials`,
        'Revoke it and give it another name.',
      );
    const { credentials, publicKey } = await deviceCredential(this.#keys, {
      tenant: about.tenant,
      device,
    });
    const natsKeys = [...before, publicKey];
    this.#devices = { ...this.#devices, [device]: { ...about, natsKeys, revokedOn: null } };
    await this.#writeDevices();
    return credentials;
  }

  /** Whether a credential of NATS was made for the device. */
  has(device: string): boolean {
    return this.#devices[device] !== undefined;
  }

  /** Notes that a device is revoked, and writes what the operator says of the account from now on. */
  async revoke(device: string, nowMs: number): Promise<NatsClaims> {
    const known = this.#devices[device];
    if (known !== undefined && known.revokedOn === null) {
      this.#devices = { ...this.#devices, [device]: { ...known, revokedOn: nowMs } };
      await this.#writeDevices();
    }
    return this.#writeClaims();
  }

  /** Credential by which NATS is told of revocations. */
  async systemCredentials(): Promise<string> {
    return readFile(this.#file(systemFile), 'utf8');
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }

  #write(name: string, text: string): Promise<void> {
    return writeWhole(this.#file(name), text, secretMode);
  }

  #writeDevices(): Promise<void> {
    return this.#write(
      devicesFile,
      `${JSON.stringify({ format: 1, devices: this.#devices }, null, 2)}\n`,
    );
  }

  async #writeClaims(): Promise<NatsClaims> {
    const revoked: Record<string, number> = {};
    for (const { natsKeys, revokedOn } of Object.values(this.#devices))
      if (revokedOn !== null)
        for (const key of natsKeys) revoked[key] = Math.floor(revokedOn / 1_000);
    const claims = await natsClaims(this.#keys, revoked);
    await this.#write(authFile, natsAuthConf(claims, this.#file('accounts')));
    return claims;
  }
}

const exampleConf = (
  auth: string,
  { listen, store }: { readonly listen: string; readonly store: string },
): string =>
  [
    '# A nats-server for Tidemark: nats-server -c <this file>. Change it as you like.',
    `listen: ${JSON.stringify(listen)}`,
    '# With this nothing that was acknowledged is lost by a power cut (nats-server 2.10 or newer).',
    `jetstream { store_dir: ${JSON.stringify(store)}, sync_interval: always }`,
    '# Beyond this machine, encrypt:',
    '# tls { cert_file: "server.pem", key_file: "server-key.pem" }',
    `include ${JSON.stringify(`./${path.basename(auth)}`)}`,
    '',
  ].join('\n');
