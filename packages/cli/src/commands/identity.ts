import path from 'node:path';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { IdentityFolder } from '../server/identity-folder.js';
import { withDesk } from '../server/open-desk.js';

const listenDefault = '127.0.0.1:4222';

const init = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const folder = settings.needed('identity.folder');
  const files = await IdentityFolder.create(folder, {
    listen: call.text('listen') ?? listenDefault,
    store: path.resolve(call.cli.cwd, call.text('store') ?? path.join(folder, 'jetstream')),
  });
  call.output.result({ ...files }, () =>
    [
      `made the keys of NATS in ${files.folder}: keep a copy where nobody else reads it`,
      `1. start NATS:      nats-server -c ${files.example}`,
      `                    or copy ${files.auth} beside the configuration that you have, and include it there`,
      `2. start servers:   tidemark serve --nats <url> --nats-credentials ${files.server}`,
      '3. demand identities: tidemark identity require',
      '4. for each device: tidemark enroll --for <user> --name <device> --out <file>',
    ].join('\n'),
  );
  return exitCodes.ok;
};

const requireIdentities = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  return withDesk(settings, {}, async (desk) => {
    const before = (await desk.identities()).required;
    if (!before) await desk.requireIdentities(settings.needed('user'));
    call.output.result({ required: true, before }, () =>
      before
        ? 'identities are demanded already'
        : 'from now on only enrolled devices are heard; this cannot be undone',
    );
    return exitCodes.ok;
  });
};

const list = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  return withDesk(settings, {}, async (desk) => {
    const after = call.text('after');
    const { required, replicas, receiptKeys } = await desk.identities(after);
    call.output.result({ required, receiptKeys, replicas }, () =>
      [
        required ? 'identities are demanded' : 'identities are not demanded: anybody is heard',
        ...replicas.map(
          ({ replica, user, device, state }) => `${state}  ${device}  ${user}  ${replica}`,
        ),
      ].join('\n'),
    );
    return exitCodes.ok;
  });
};

/** Adds `identity init|require|list`. */
export const addIdentity = (program: Command, cli: Cli): void => {
  const group = program
    .command('identity')
    .description('Keys of NATS, and who may use the tenant.');
  group
    .command('init')
    .description(
      'Make the keys of a NATS of your own, the credential of servers, and the configuration by which ' +
        'nats-server believes them, in identity.folder. Secrets are files that only you may read.',
    )
    .option('--listen <host:port>', `address in the example configuration (${listenDefault})`)
    .option('--store <path>', 'folder of JetStream in the example configuration')
    .action(action(cli, init));
  group
    .command('require')
    .description(
      'Demand identities: from here on only enrolled devices are heard, and everything is signed. There is ' +
        'no way back.',
    )
    .action(action(cli, requireIdentities));
  group
    .command('list')
    .description('List enrolled replicas with their devices and users, at most 1,000.')
    .option('--after <replica>', 'continue behind this replica')
    .action(action(cli, list));
};
