import { readdir, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { addToFile, removeFromFile, type FileEntry } from '../config/config-file.js';
import type { Settings } from '../config/settings.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { showFailure, UsageError } from '../failure.js';
import { connectDesk } from '../server/control-client.js';
import { inputPlaceOf, managedNatsFolder } from '../server/input-place.js';
import { runningNats } from '../server/nats-program.js';
import { withDesk } from '../server/open-desk.js';
import { holdsServer, natsPlaceOf, startManagedNats } from '../server/open-folder.js';
import { takeBackup } from '../server/take-backup.js';

const namesOf = (settings: Settings): readonly string[] =>
  settings.tenants?.map(({ name }) => name) ?? [settings.needed('tenant')];

/** Settings of a tenant by its name. Throws `invalid-option`. */
const settingsOf = (settings: Settings, name: string): Settings => {
  if (settings.tenants !== undefined) return settings.forTenant(name);
  if (settings.needed('tenant') === name) return settings;
  throw new TidemarkError(
    'invalid-option',
    `the configuration is of tenant ${settings.needed('tenant')} only`,
    { option: 'tenant' },
  );
};

const add = async (call: Call): Promise<ExitCode> => {
  const { settings, file } = await call.loaded();
  const name = call.arg(0);
  const servers = call
    .text('servers')
    ?.split(',')
    .map((one) => one.trim());
  const entry: FileEntry = {
    name,
    ...(servers === undefined ? {} : { servers }),
    ...(settings.sourceOf('schema') === 'flag' ? { schema: settings.text('schema') } : {}),
  };
  await addToFile(file, entry);
  const added = (await call.loaded()).settings.forTenant(name);
  const folder = added.needed('folder');
  call.output.result({ added: name, file, folder }, () =>
    [
      `added ${name} to ${file ?? ''}; its server lies in ${folder}`,
      `A server that runs takes it up by itself, within seconds. Commands take --tenant ${name}.`,
    ].join('\n'),
  );
  return exitCodes.ok;
};

interface ListedTenant {
  readonly tenant: string;
  /** `unknown`: held by a process that does not answer. */
  readonly state: 'running' | 'stopped' | 'empty';
  readonly servers: readonly string[] | null;
  readonly folder: string;
  readonly version: string | null;
  readonly openErrors: number | null;
  readonly failure: string | null;
}

const listed = async (all: Settings, name: string): Promise<ListedTenant> => {
  const settings = settingsOf(all, name);
  const folder = settings.needed('folder');
  const servers = all.tenants?.find((one) => one.name === name)?.servers ?? null;
  const base = { tenant: name, servers, folder, version: null, openErrors: null, failure: null };
  try {
    const desk = await connectDesk(folder);
    if (desk === undefined)
      return { ...base, state: (await holdsServer(folder)) ? 'stopped' : 'empty' };
    const { incarnation, n, openErrors, failure } = await desk.status();
    return {
      ...base,
      state: 'running',
      version: `${incarnation}:${n}`,
      openErrors,
      failure: failure?.code ?? null,
    };
  } catch (cause) {
    return { ...base, state: 'running', failure: showFailure(cause).code };
  }
};

const list = async (call: Call): Promise<ExitCode> => {
  const { settings } = await call.loaded();
  const tenants: ListedTenant[] = [];
  for (const name of namesOf(settings)) tenants.push(await listed(settings, name));
  call.output.list(
    tenants,
    ['tenant', 'state', 'servers', 'version', 'open errors', 'failure', 'folder'],
    (one) => [
      one.tenant,
      one.state,
      one.servers?.join(', ') ?? 'all',
      one.version ?? '-',
      String(one.openErrors ?? '-'),
      one.failure ?? '-',
      path.relative(call.cli.cwd, one.folder) || '.',
    ],
    'no tenants',
  );
  return exitCodes.ok;
};

const exportTenant = async (call: Call): Promise<ExitCode> => {
  const name = call.arg(0);
  const settings = settingsOf((await call.loaded()).settings, name);
  const target = path.resolve(call.cli.cwd, call.arg(1));
  const { backup, note } = await withDesk(settings, {}, async (desk) =>
    takeBackup(settings, desk, target, {
      'tidemark.schema.json': `${JSON.stringify(await desk.customization(), null, 2)}\n`,
    }),
  );
  call.output.result({ exported: backup, ...note }, () =>
    [
      `${backup}: all of tenant ${name} at version ${note.incarnation}:${note.n}, digest ${note.digest}`,
      'It holds records, history, sync errors, the schema and the key of cursors: keep it where nobody else can read it.',
      `\`tidemark restore ${path.relative(call.cli.cwd, backup)} --tenant ${name}\` takes it, also with the configuration of another machine.`,
    ].join('\n'),
  );
  return exitCodes.ok;
};

/** Removes the streams of a tenant from the NATS that holds them, if one does. */
const removeStreams = async (settings: Settings): Promise<readonly string[]> => {
  const place = await inputPlaceOf(settings);
  if (place !== 'nats' && place !== 'managed') return [];
  const managed = place === 'managed' ? managedNatsFolder(settings) : undefined;
  const running = managed === undefined ? undefined : await runningNats(managed);
  const started =
    managed === undefined || running !== undefined
      ? undefined
      : await startManagedNats(settings, undefined);
  const url = running ?? started?.url;
  const nats = url === undefined ? await natsPlaceOf(settings) : { servers: [url] };
  if (nats === undefined)
    throw new TidemarkError(
      'invalid-option',
      'the input of this tenant lies in NATS: set nats.servers, TIDEMARK_NATS or --nats',
    );
  try {
    const { connectServer, removeInput, removeNatsCheckpoints } = await import('@tidemark/server');
    const { systemEntropy } = await import('@tidemark/node');
    const connection = await connectServer(nats, systemEntropy);
    try {
      const tenant = settings.needed('tenant');
      const streams = await removeInput(connection, tenant);
      return [...streams, ...(await removeNatsCheckpoints(connection, tenant))];
    } finally {
      await connection.close();
    }
  } finally {
    await started?.stop();
  }
};

const confirm = async (call: Call, name: string, folders: readonly string[]): Promise<boolean> => {
  if (call.isOn('yes')) return true;
  const { ask } = call.cli;
  if (ask === undefined || call.output.json)
    throw new UsageError(
      `nobody is there to confirm that ${name} is removed`,
      `Take an export first (\`tidemark tenant export ${name} <folder>\`); then give --yes.`,
    );
  call.output.note(
    [
      `This removes tenant ${name}: its server, its checkpoints and its input in NATS. It cannot be undone.`,
      ...folders.map((folder) => `  ${folder}`),
      `\`tidemark tenant export ${name} <folder>\` keeps a copy. Devices keep what they hold.`,
    ].join('\n'),
  );
  return (await ask(`Type the name of the tenant to remove it: `)).trim() === name;
};

const remove = async (call: Call): Promise<ExitCode> => {
  const { settings: all, file } = await call.loaded();
  const name = call.arg(0);
  const settings = settingsOf(all, name);
  const folder = settings.needed('folder');
  if ((await connectDesk(folder)) !== undefined)
    throw new TidemarkError('folder-in-use', `a server serves ${name}: stop it first`);
  const folders = [
    folder,
    settings.needed('checkpoints.folder'),
    ...[settings.text('nats.archive') ?? []].flat(),
  ];
  if (!(await confirm(call, name, folders))) {
    call.output.note('That is another name: nothing was removed.');
    return exitCodes.failed;
  }
  const streams = await removeStreams(settings);
  for (const one of folders) await rm(one, { recursive: true, force: true });
  // The tenant's own folder goes, too, unless a device of it is in there.
  const own = path.join(settings.needed('tenantsFolder'), name);
  if (all.tenants !== undefined && (await readdir(own).catch(() => ['none'])).length === 0)
    await rmdir(own);
  const unlisted = await removeFromFile(file, name);
  call.output.result({ removed: name, folders, streams, unlisted }, () =>
    [
      `removed ${name}: ${folders.length} folders, ${streams.length} streams`,
      ...(unlisted ? [] : ['It stays in the configuration, which needs a tenant.']),
      'Devices keep what they hold. If a server of this name is begun again, they offer it again.',
    ].join('\n'),
  );
  return exitCodes.ok;
};

/** Adds `tenant`. */
export const addTenant = (program: Command, cli: Cli): void => {
  const tenant = program
    .command('tenant')
    .description(
      'Work on the tenants of the configuration. Several share one process and one NATS, and no byte: each ' +
        'has its own folders, streams and keys.',
    );
  tenant
    .command('add')
    .description(
      'Add a tenant to the list in tidemark.config.json. The tenant that the file had before becomes the first ' +
        'of the list and keeps its folders. --schema gives it a schema of its own.',
    )
    .argument('<name>', 'small letters, digits and - inside')
    .option('--servers <names>', 'servers that serve it, with commas; every server when left out')
    .action(action(cli, add));
  tenant
    .command('list')
    .description('List the tenants of the configuration and how they are.')
    .action(action(cli, list));
  tenant
    .command('export')
    .description(
      'Write everything of a tenant into a new folder that `restore` takes, also while it is served.',
    )
    .argument('<name>', 'tenant to export')
    .argument('<folder>', 'folder in which the export gets a folder of its own')
    .action(action(cli, exportTenant));
  tenant
    .command('remove')
    .description(
      "Remove a tenant with its server, checkpoints and input. Asks for its name; devices' own data stays.",
    )
    .argument('<name>', 'tenant to remove')
    .option('--yes', 'do not ask')
    .action(action(cli, remove));
};
