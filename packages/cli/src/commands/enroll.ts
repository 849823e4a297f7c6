import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import type { DeviceFile } from '@tidemark/node';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { UsageError } from '../failure.js';
import { IdentityFolder } from '../server/identity-folder.js';
import { withDesk } from '../server/open-desk.js';
import { isThere } from '../server/paths.js';
import { writeWhole } from '../state-file.js';

const ttlDefault = '24h';
const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Time such as `30m`, `24h` or `7d` in ms. Throws UsageError. */
const durationMs = (text: string): number => {
  const [, count, unit] = /^([1-9]\d{0,4})([mhd])$/.exec(text) ?? [];
  const factor = unitMs[unit ?? ''];
  if (count === undefined || factor === undefined)
    throw new UsageError('--ttl is a time such as 30m, 24h or 7d');
  return Number(count) * factor;
};

const required = (call: Call, name: string): string => {
  const value = call.text(name);
  if (value === undefined) throw new UsageError(`--${name} is missing`);
  return value;
};

const enroll = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const user = required(call, 'for');
  const device = required(call, 'name');
  const out = path.resolve(call.cli.cwd, required(call, 'out'));
  const ttlMs = durationMs(call.text('ttl') ?? ttlDefault);
  if (await isThere(out))
    throw new UsageError(`${out} exists`, 'Name another file: it may be the secret of a device.');
  const tenant = settings.needed('tenant');
  const identities = await IdentityFolder.open(settings.needed('identity.folder'));
  const ca = settings.text('nats.ca');
  return withDesk(settings, {}, async (desk) => {
    const status = await desk.status();
    const servers = settings.list('nats.servers') ?? status.nats ?? [];
    const { required: isRequired, receiptKeys } = await desk.identities();
    const by = settings.needed('user');
    const { token, expiresOn } = await desk.createToken({ user, device, ttlMs, by });
    const credentials = await identities?.issue(device, { user, tenant });
    const file: DeviceFile = {
      format: 1,
      tenant,
      user,
      device,
      servers,
      credentials: credentials ?? null,
      ca: ca === undefined ? null : await readFile(ca, 'utf8'),
      token,
      receiptKeys,
    };
    await mkdir(path.dirname(out), { recursive: true });
    await writeWhole(out, `${JSON.stringify(file, null, 2)}\n`, 0o600);
    if (servers.length === 0)
      call.output.warn('no address of NATS is known: put it into the file, or use --nats.');
    if (credentials === undefined)
      call.output.warn(
        'there are no keys of NATS in identity.folder: the file holds no credential of NATS. `tidemark identity init` makes keys.',
      );
    if (!isRequired)
      call.output.warn(
        'the tenant does not demand identities yet: `tidemark identity require` does.',
      );
    const expires = new Date(expiresOn).toISOString();
    call.output.result(
      { file: out, user, device, expires, natsCredential: credentials !== undefined },
      () =>
        `wrote ${out} for ${user} on ${device}: a secret, good for one device until ${expires}. Carry it there, and open the replica with it (\`tidemark device --device-file\`).`,
    );
    return exitCodes.ok;
  });
};

/** Adds `enroll`. */
export const addEnroll = (program: Command, cli: Cli): void => {
  program
    .command('enroll')
    .description(
      'Write a device file: address and credential of NATS, a one-time token, the keys that sign receipts. ' +
        'Whoever opens a replica with it first is enrolled, and may read and write the whole tenant.',
    )
    .requiredOption('--for <user>', 'user of the device')
    .requiredOption('--name <device>', 'name of the device: 1 to 64 of [A-Za-z0-9_-]')
    .requiredOption('--out <file>', 'file to write; only you may read it')
    .option('--ttl <time>', `time for which the token is good (${ttlDefault}): 30m, 24h, 7d`)
    .action(action(cli, enroll));
};
