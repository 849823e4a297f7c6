import { TidemarkError } from '@tidemark/model';
import type { ServerEvent } from '@tidemark/server';
import type { NatsPlace } from '@tidemark/node';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { readSchemaFile } from '../config/schema-file.js';
import type { Settings } from '../config/settings.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { UsageError } from '../failure.js';
import { connectDesk } from '../server/control-client.js';
import { checkExposure } from '../server/exposure.js';
import { localDesk } from '../server/local-desk.js';
import {
  findNatsProgram,
  installLine,
  isDurableVersion,
  type StartedNats,
} from '../server/nats-program.js';
import { inputPlaceOf, leaveInput, requireSameInput } from '../server/input-place.js';
import { natsVersion } from '../server/nats-version.js';
import { natsPlaceOf, openFolder, startManagedNats } from '../server/open-folder.js';

const portDefault = 4222;

const reach = async (
  call: Call,
  settings: Settings,
): Promise<{ readonly nats: NatsPlace; readonly started: StartedNats | undefined }> => {
  const nats = await natsPlaceOf(settings);
  const place = await inputPlaceOf(settings);
  if (call.isOn('moveInput')) await leaveInput(settings, place);
  else requireSameInput(place, nats !== undefined || place === 'folder');
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
  const started = await startManagedNats(settings, port);
  return { nats: { servers: [started.url] }, started };
};

const untilStopped = async (
  call: Call,
  started: StartedNats | undefined,
  ended: Promise<string>,
): Promise<string | undefined> => {
  const { signal } = call.cli;
  const stopped = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  // The wait alone would not keep the process alive.
  const alive = setInterval(() => undefined, 60_000);
  try {
    return await Promise.race([stopped, ended, ...(started === undefined ? [] : [started.gone])]);
  } finally {
    clearInterval(alive);
  }
};

const tellEvent = (call: Call, event: ServerEvent): void => {
  const { type, ...rest } = event;
  call.output.item({ event: type, ...rest }, () => `${type} ${JSON.stringify(rest)}`);
};

const serveOn = async (
  call: Call,
  settings: Settings,
  place: NatsPlace,
  started: StartedNats | undefined,
): Promise<ExitCode> => {
  const { output } = call;
  const version = await natsVersion(place);
  if (!isDurableVersion(version))
    output.warn(
      `nats-server ${version} cannot fsync before it acknowledges: a power cut may lose uploads that were acknowledged; devices keep them until a checkpoint holds them. Use 2.10 or newer.`,
    );
  else if (started === undefined)
    output.warn(
      'without `sync_interval: always` in the configuration of NATS, a power cut may lose uploads that were acknowledged; `tidemark doctor` looks for it.',
    );
  const folder = settings.needed('folder');
  let endServing: (reason: string) => void = () => undefined;
  const ended = new Promise<string>((resolve) => {
    endServing = resolve;
  });
  const server = await openFolder(settings, {
    publish: await readSchemaFile(settings),
    connection: place,
    onEvent: (event) => {
      tellEvent(call, event);
      if (event.type === 'connection-ended') endServing('the connection to NATS has ended');
    },
  });
  const desk = localDesk(server, {
    checkpoints: settings.needed('checkpoints.folder'),
    nats: place.servers,
  });
  try {
    const { serveControl } = await import('../server/control-server.js');
    const endControl = await serveControl(folder, desk);
    const { state } = server.status();
    output.item(
      {
        event: 'ready',
        tenant: state.tenant,
        folder,
        nats: place.servers,
        natsVersion: version,
        startedNats: started !== undefined,
        incarnation: state.incarnation,
        n: state.n,
        customizationVersion: state.customizationVersion,
        pid: process.pid,
      },
      () =>
        [
          `serving ${state.tenant} at ${place.servers.join(', ')} (nats-server ${version}), version ${state.incarnation}:${state.n}, customization ${state.customizationVersion}`,
          'Every enrolled device may read and write all of its tenant: there are no rights per user yet. Until `tidemark identity require`, so may every device that reaches this NATS.',
        ].join('\n'),
    );
    const lost = await untilStopped(call, started, ended);
    await endControl();
    if (lost !== undefined) throw new TidemarkError('unreachable', lost);
  } finally {
    await desk.close();
  }
  output.item({ event: 'stopped' }, () => 'stopped');
  return exitCodes.ok;
};

/** A second server would start NATS on the files of the first one's before it met the lock of the store. */
const requireNoOther = async (settings: Settings): Promise<void> => {
  const folder = settings.needed('folder');
  if ((await connectDesk(folder)) !== undefined)
    throw new TidemarkError('folder-in-use', `a server is running on ${folder}`);
};

const serve = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  settings.needed('tenant');
  await readSchemaFile(settings);
  await requireNoOther(settings);
  const { nats, started } = await reach(call, settings);
  try {
    return await serveOn(call, settings, nats, started);
  } finally {
    await started?.stop();
  }
};

/** Adds `serve`. */
export const addServe = (program: Command, cli: Cli): void => {
  program
    .command('serve')
    .description(
      'Serve the tenant of the folder over NATS until interrupted: the NATS of --nats, else a nats-server ' +
        'that it starts on this machine. Publishes the schema when its version is newer. Every device that ' +
        'reaches that NATS may read and write the whole tenant; once `identity require` was given, every enrolled one.',
    )
    .option(
      '--port <port>',
      `port of the nats-server that it starts (${portDefault} when left out)`,
    )
    .option(
      '--move-input',
      'leave the input that the server had for this NATS, under a new incarnation',
    )
    .option('--insecure', 'allow NATS beyond this machine without TLS and credentials')
    .action(action(cli, serve));
};
