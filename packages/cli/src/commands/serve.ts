import type { NatsPlace } from '@tidemark/node';
import { TidemarkError } from '@tidemark/model';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { readSchemaFile } from '../config/schema-file.js';
import { servedTenants } from '../config/served-tenants.js';
import type { Settings } from '../config/settings.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { UsageError } from '../failure.js';
import { connectDesk } from '../server/control-client.js';
import { checkExposure } from '../server/exposure.js';
import { httpAddressOf } from '../serve/http-server.js';
import type { ServeTenantsOptions } from '../serve/serve-tenants.js';
import { ServerLog } from '../serve/server-log.js';
import {
  findNatsProgram,
  installLine,
  isDurableVersion,
  type StartedNats,
} from '../server/nats-program.js';
import { holdStore, inputPlaceOf, leaveInput, requireSameInput } from '../server/input-place.js';
import { natsVersion } from '../server/nats-version.js';
import { natsPlaceOf, startManagedNats } from '../server/open-folder.js';

const portDefault = 4222;

const reach = async (
  call: Call,
  settings: Settings,
): Promise<{ readonly nats: NatsPlace; readonly started: StartedNats | undefined }> => {
  const nats = await natsPlaceOf(settings);
  if (nats !== undefined) {
    checkExposure(nats, call.isOn('insecure'));
    return { nats, started: undefined };
  }
  if (findNatsProgram(settings.text('nats.program')) === undefined)
    throw new UsageError(
      'no address of NATS is configured, and there is no nats-server on this machine',
      `${installLine()}; or name one that runs with --nats.`,
    );
  const port = call.count('port', portDefault, { min: 1, max: 65_535 });
  // The files of a nats-server move before it runs; every other input moves when its tenant is opened.
  if (call.isOn('moveInput') && settings.tenants === undefined) {
    const place = await inputPlaceOf(settings);
    if (place === 'managed') await leaveInput(settings, place);
  }
  const started = await startManagedNats(settings, port);
  return { nats: { servers: [started.url] }, started };
};

/** What a single tenant would fail with is told before a nats-server is started for it. */
const checkOne = async (call: Call, tenants: readonly Settings[]): Promise<void> => {
  const [settings] = tenants;
  if (tenants.length !== 1 || settings === undefined) return;
  await readSchemaFile(settings);
  const folder = settings.needed('folder');
  // A second server would start NATS on the files of the first one's before it met the lock of the store.
  if ((await connectDesk(folder)) !== undefined)
    throw new TidemarkError('folder-in-use', `a server is running on ${folder}`);
  // A command that opened the folder itself answers nobody.
  const release = await holdStore(folder);
  await release();
  const place = await inputPlaceOf(settings);
  if (call.isOn('moveInput') || place === 'folder') return;
  requireSameInput(place, settings.list('nats.servers') !== undefined);
};

const warnOfLosses = (call: Call, version: string, started: StartedNats | undefined): void => {
  if (!isDurableVersion(version))
    call.output.warn(
      `nats-server ${version} cannot fsync before it acknowledges: a power cut may lose uploads that were acknowledged; devices keep them until a checkpoint holds them. Use 2.10 or newer.`,
    );
  else if (started === undefined)
    call.output.warn(
      'without `sync_interval: always` in the configuration of NATS, a power cut may lose uploads that were acknowledged; `tidemark doctor` looks for it.',
    );
};

/** Serves tenants until the command is interrupted. */
export const serveWith = async (
  call: Call,
  settings: Settings,
  tenants: readonly Settings[],
  more: Pick<ServeTenantsOptions, 'beside' | 'quietUser'> & { readonly file?: string } = {},
): Promise<ExitCode> => {
  call.output.isService = true;
  httpAddressOf(settings.needed('http'));
  await checkOne(call, tenants);
  const { nats, started } = await reach(call, settings);
  try {
    warnOfLosses(call, await natsVersion(nats), started);
    call.output.note(
      'Every enrolled device may read and write all of its tenant: there are no rights per user yet. Until `tidemark identity require`, so may every device that reaches this NATS.',
    );
    const [{ serveTenants }, { watchTenants }] = await Promise.all([
      import('../serve/serve-tenants.js'),
      import('../serve/tenant-watch.js'),
    ]);
    const log = new ServerLog(call.output, tenants.length > 1);
    const { file, ...besides } = more;
    const watch = { file, load: () => call.loaded(), log };
    await serveTenants({
      settings,
      tenants,
      place: nats,
      started,
      isMoving: call.isOn('moveInput'),
      output: call.output,
      log,
      signal: call.cli.signal,
      newTenants: (known, signal) => watchTenants(watch, known, signal),
      ...besides,
    });
    return exitCodes.ok;
  } finally {
    await started?.stop();
  }
};

const serve = async (call: Call): Promise<ExitCode> => {
  const { settings, file } = await call.loaded();
  return serveWith(call, settings, servedTenants(settings), file === undefined ? {} : { file });
};

/** Options of commands that serve. */
export const addServeOptions = (command: Command): Command =>
  command
    .option(
      '--port <port>',
      `port of the nats-server that it starts (${portDefault} when left out)`,
    )
    .option(
      '--move-input',
      'leave the input that the server had for this NATS, under a new incarnation',
    )
    .option('--insecure', 'allow NATS beyond this machine without TLS and credentials');

/** Adds `serve`. */
export const addServe = (program: Command, cli: Cli): void => {
  addServeOptions(
    program
      .command('serve')
      .description(
        'Serve the tenants of the configuration over NATS until interrupted: the NATS of --nats, else a ' +
          'nats-server that it starts on this machine. Of several tenants it serves those that are assigned to ' +
          '--server, also those that are added to the configuration while it runs; one that fails is tried again ' +
          'and does not stop the others. Publishes the schema when its ' +
          'version is newer. /healthz, /readyz and /metrics are at --http. Every device that reaches that NATS ' +
          'may read and write the whole tenant; once `identity require` was given, every enrolled one.',
      ),
  ).action(action(cli, serve));
};
