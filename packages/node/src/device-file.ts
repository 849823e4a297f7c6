import { readFile } from 'node:fs/promises';
import * as t from 'io-ts';
import { isLeft, TidemarkError } from '@tidemark/model';
import type { NatsPlace } from '@tidemark/transport-nats/node';

const nullable = <C extends t.Mixed>(codec: C): t.UnionC<[C, t.NullC]> => t.union([codec, t.null]);

const DeviceJson = t.type({
  format: t.literal(1),
  tenant: t.string,
  user: t.string,
  device: t.string,
  servers: t.array(t.string),
  credentials: nullable(t.string),
  ca: nullable(t.string),
  token: t.string,
  receiptKeys: t.array(t.string),
});

/**
 * What `tidemark enroll` writes for one device: where NATS is and how to sign in there, the one-time token, and
 * the keys that sign the server's receipts. It is a secret as a whole.
 */
export interface DeviceFile {
  readonly format: 1;
  readonly tenant: string;
  readonly user: string;
  readonly device: string;
  readonly servers: readonly string[];
  /** Content of a credentials file of NATS; null where NATS wants none. */
  readonly credentials: string | null;
  /** Certificates (PEM) that are trusted for NATS; null: those of the system. */
  readonly ca: string | null;
  readonly token: string;
  readonly receiptKeys: readonly string[];
}

/** Reads a device file. Rejects with `invalid-option` when there is none, or it is another file. */
export const readDeviceFile = async (file: string): Promise<DeviceFile> => {
  const bad = (cause?: unknown): TidemarkError =>
    new TidemarkError('invalid-option', `${file} is no device file`, { option: 'file' }, cause);
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw bad(cause);
  }
  const decoded = DeviceJson.decode(json);
  if (isLeft<unknown, unknown>(decoded)) throw bad();
  return decoded.right as DeviceFile;
};

/** Options of `openReplica` and `natsTransport` that a device file holds. */
export const deviceOptions = (
  file: DeviceFile,
): {
  readonly nats: NatsPlace;
  readonly replica: {
    readonly tenant: string;
    readonly user: string;
    readonly receiptKeys: readonly string[];
    readonly credentials: () => Promise<{ readonly token: string }>;
  };
} => ({
  nats: {
    servers: file.servers,
    ...(file.credentials === null ? {} : { credentials: file.credentials, device: file.device }),
    ...(file.ca === null ? {} : { tls: { ca: file.ca } }),
  },
  replica: {
    tenant: file.tenant,
    user: file.user,
    receiptKeys: file.receiptKeys,
    credentials: () => Promise.resolve({ token: file.token }),
  },
});
