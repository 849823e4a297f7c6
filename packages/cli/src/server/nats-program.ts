import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';

const startMsMax = 15_000;
const lookMs = 25;
const takeTriesMax = 3;
const host = '127.0.0.1';
/** First release that can fsync before it acknowledges. */
const durableFrom = [2, 10] as const;

/** A program nats-server and its version. */
export interface NatsProgram {
  readonly program: string;
  readonly version: string;
  /** True when it can fsync before it acknowledges (`sync_interval: always`). */
  readonly durable: boolean;
}

/** How nats-server is installed on this system. */
export const installLine = (): string => {
  if (process.platform === 'darwin') return 'brew install nats-server';
  if (process.platform === 'win32') return 'winget install NATSAuthors.NATSServer';
  return 'install the package nats-server, 2.10 or newer';
};

/** True when a version of nats-server has `sync_interval: always`. */
export const isDurableVersion = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > durableFrom[0] || (major === durableFrom[0] && minor >= durableFrom[1]);
};

const onPath = (env: Readonly<Record<string, string | undefined>>): string | undefined => {
  const name = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server';
  for (const folder of (env['PATH'] ?? '').split(path.delimiter)) {
    const program = path.join(folder, name);
    if (folder !== '' && existsSync(program)) return program;
  }
  return undefined;
};

/** Finds nats-server: the configured program, else the PATH; undefined when there is none. */
export const findNatsProgram = (
  configured: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): NatsProgram | undefined => {
  const program = configured ?? onPath(env);
  if (program === undefined) return undefined;
  const { stdout, stderr } = spawnSync(program, ['--version'], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  const version = /nats-server:? v?(\d+\.\d+\.\d+)/.exec(`${stdout ?? ''}${stderr ?? ''}`)?.[1];
  return version === undefined
    ? undefined
    : { program, version, durable: isDurableVersion(version) };
};

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host);
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('data', () => end(true));
    socket.once('error', () => end(false));
    socket.once('close', () => end(false));
  });

/** nats-server that a command started, or found running from an earlier one. */
export interface StartedNats {
  readonly url: string;
  /** Resolves when it is gone, with what it was: undefined when `stop` ended it. */
  readonly gone: Promise<string | undefined>;
  readonly stop: () => Promise<void>;
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : 0),
      );
    });
  });

const isAlive = async (pid: number): Promise<boolean> => {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A process that ended but that nobody has asked about yet still has its number.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/\) Z /.test(stat);
};

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, lookMs));

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

/** Process ids of the command that holds the folder and of its nats-server, and the port of that. */
const readHolder = async (file: string): Promise<readonly [number, number, number]> => {
  const text = await readFile(file, 'utf8').catch(() => '');
  const [owner = 0, nats = 0, port = 0] = text.trim().split(' ').map(Number);
  return [owner, nats, port];
};

/** Address of the nats-server that another command runs on a folder; undefined when none does. */
export const runningNats = async (folder: string): Promise<string | undefined> => {
  const [owner, nats, port] = await readHolder(path.join(folder, 'nats.pid'));
  if (owner === 0 || port === 0 || owner === process.pid) return undefined;
  const isRunning = (await isAlive(owner)) && (await isAlive(nats)) && (await isListening(port));
  return isRunning ? `nats://${host}:${port}` : undefined;
};

const endNats = async (pid: number): Promise<void> => {
  process.kill(pid, 'SIGTERM');
  const untilMs = Date.now() + startMsMax;
  while (await isAlive(pid)) {
    if (Date.now() > untilMs)
      throw new TidemarkError('folder-in-use', `nats-server ${pid} of an earlier run does not end`);
    await pause();
  }
};

/**
 * Takes the folder of a nats-server for this process: two on one folder would destroy it. What a killed
 * command left running is ended first. Rejects with `folder-in-use` while the other command lives.
 */
const takeFolder = async (file: string): Promise<void> => {
  for (let tries = 0; tries < takeTriesMax; tries += 1) {
    try {
      await writeFile(file, `${process.pid}\n`, { flag: 'wx' });
      return;
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause;
    }
    const [owner, nats, port] = await readHolder(file);
    if (owner !== 0 && (await isAlive(owner)))
      throw new TidemarkError(
        'folder-in-use',
        `process ${owner} works on the folder; if that is no tidemark, remove ${file}`,
      );
    // A process that does not answer there is another one, which got the number of one that is gone.
    if (nats !== 0 && (await isAlive(nats)) && (await isListening(port))) await endNats(nats);
    await rm(file, { force: true });
  }
  throw new TidemarkError('folder-in-use', 'another command took the folder at the same time');
};

/**
 * Starts nats-server on the loopback with JetStream in a folder. Rejects with `unreachable` and what it said
 * (a port in use is the usual reason), and with `folder-in-use`.
 */
export const startNats = async (
  { program, durable }: NatsProgram,
  folder: string,
  wantedPort: number | undefined,
): Promise<StartedNats> => {
  await mkdir(folder, { recursive: true });
  const [file, log, noted] = ['nats.conf', 'nats.log', 'nats.pid'].map((name) =>
    path.join(folder, name),
  ) as [string, string, string];
  await takeFolder(noted);
  try {
    return await startHeld({ program, durable }, folder, { file, log, noted }, wantedPort);
  } catch (cause) {
    await rm(noted, { force: true });
    throw cause;
  }
};

const startHeld = async (
  { program, durable }: Omit<NatsProgram, 'version'>,
  folder: string,
  files: { readonly file: string; readonly log: string; readonly noted: string },
  wantedPort: number | undefined,
): Promise<StartedNats> => {
  const { file, log, noted } = files;
  const port = wantedPort ?? (await freePort());
  if (await isListening(port))
    throw new TidemarkError('unreachable', `port ${port} is in use: --port names another one`);
  const sync = durable ? ', sync_interval: always' : '';
  const config = [
    `listen: "${host}:${port}"`,
    `jetstream { store_dir: ${JSON.stringify(path.join(folder, 'store'))}${sync} }`,
  ];
  await writeFile(file, `${config.join('\n')}\n`);
  // In a group of its own: the terminal's interrupt is for this process, which ends NATS after the server.
  const child = spawn(program, ['-c', file, '-l', log], { stdio: 'ignore', detached: true });
  let stopping = false;
  const gone = ended(child).then(() =>
    stopping
      ? undefined
      : `nats-server ended with ${child.exitCode ?? child.signalCode ?? 'nothing'}`,
  );
  const failed = new Promise<Error>((resolve) => child.once('error', resolve));
  if (child.pid === undefined)
    throw new TidemarkError('unreachable', `${program} cannot be started`, {}, await failed);
  await writeFile(noted, `${process.pid} ${child.pid} ${port}\n`);
  const stop = async (): Promise<void> => {
    stopping = true;
    child.kill('SIGTERM');
    await ended(child);
    await rm(noted, { force: true });
  };
  const untilMs = Date.now() + startMsMax;
  while (!(await isListening(port))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > untilMs) {
      await stop();
      const said = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n').at(-1) ?? '';
      throw new TidemarkError('unreachable', `nats-server did not start: ${said}`);
    }
    await pause();
  }
  return { url: `nats://${host}:${port}`, gone, stop };
};
