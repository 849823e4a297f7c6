import type { Command } from 'commander';
import { TidemarkError } from '@tidemark/model';
import { pushClaims } from '@tidemark/server';
import { action, type Call, type Cli } from '../call.js';
import type { Settings } from '../config/settings.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { UsageError } from '../failure.js';
import { IdentityFolder } from '../server/identity-folder.js';
import { withDesk } from '../server/open-desk.js';
import { natsPlaceOf } from '../server/open-folder.js';

type NatsPart = 'none' | 'ended' | 'not-told';

/** Tells NATS, which ends the connections of the device. */
const endAtNats = async (call: Call, settings: Settings, device: string): Promise<NatsPart> => {
  const identities = await IdentityFolder.open(settings.needed('identity.folder'));
  if (identities === undefined || !identities.has(device)) return 'none';
  const claims = await identities.revoke(device, Date.now());
  try {
    const place = await natsPlaceOf(settings);
    const servers = place?.servers ?? (await withDesk(settings, {}, (desk) => desk.status())).nats;
    if (servers === null) throw new TidemarkError('unreachable', 'no address of NATS is known');
    await pushClaims(
      {
        servers,
        credentials: await identities.systemCredentials(),
        ...(place?.tls === undefined ? {} : { tls: place.tls }),
      },
      claims,
    );
    return 'ended';
  } catch (cause) {
    const reason = cause instanceof TidemarkError ? cause.message : String(cause);
    call.output.warn(
      `NATS was not told (${reason}): servers refuse the device already. Run the command again when NATS is there, or restart it: its configuration is written.`,
    );
    return 'not-told';
  }
};

const revoke = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const device = call.text('name');
  const replica = call.text('replica');
  if ((device === undefined) === (replica === undefined))
    throw new UsageError('give --name of a device, or --replica');
  const by = settings.needed('user');
  const wanted =
    device === undefined
      ? { of: 'replica' as const, id: replica ?? '', by }
      : { of: 'device' as const, id: device, by };
  await withDesk(settings, {}, (desk) => desk.revoke(wanted));
  const nats = device === undefined ? 'none' : await endAtNats(call, settings, device);
  call.output.result({ revoked: wanted.of, id: wanted.id, nats }, () => {
    const first = `revoked ${wanted.of} ${wanted.id}: nothing that it signs is taken any more`;
    return nats === 'ended' ? `${first}, and NATS ended its connections` : first;
  });
  return nats === 'not-told' ? exitCodes.partly : exitCodes.ok;
};

/** Adds `revoke`. */
export const addRevoke = (program: Command, cli: Cli): void => {
  program
    .command('revoke')
    .description(
      'End the access of a device with all its replicas, or of one replica: servers refuse what it signs, and ' +
        'NATS ends its connections. What it holds stays on it.',
    )
    .option('--name <device>', 'device to revoke')
    .option('--replica <id>', 'replica to revoke; others of its device go on')
    .action(action(cli, revoke));
};
