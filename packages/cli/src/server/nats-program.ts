import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';

const startMsMax = 15_000;
const lookMs = 25;
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
  env: Readonly<Record<string, string | undefined>>,
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

/** nats-server that a command started. */
export interface StartedNats {
  readonly url: string;
  readonly pid: number | undefined;
  /** Resolves when it is gone, with what it was: undefined when `stop` ended it. */
  readonly gone: Promise<string | undefined>;
  readonly stop: () => Promise<void>;
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

/**
 * Starts nats-server on the loopback with JetStream in a folder. Rejects with `unreachable` and what it
 * said; a port in use is the usual reason.
 */
export const startNats = async (
  { program, durable }: NatsProgram,
  folder: string,
  port: number,
): Promise<StartedNats> => {
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, 'nats.conf');
  const log = path.join(folder, 'nats.log');
  const sync = durable ? ', sync_interval: always' : '';
  if (await isListening(port))
    throw new TidemarkError('unreachable', `port ${port} is in use: --port names another one`);
  await writeFile(
    file,
    [
      `listen: "${host}:${port}"`,
      `jetstream { store_dir: ${JSON.stringify(path.join(folder, 'store'))}${sync} }`,
      '',
    ].join('\n'),
  );
  // In a group of its own: the terminal's interrupt is for this process, which ends NATS after the server.
  const child = spawn(program, ['-c', file, '-l', log], { stdio: 'ignore', detached: true });
  let stopping = false;
  const gone = ended(child).then(() =>
    stopping ? undefined : `nats-server ended with ${child.exitCode ?? child.signalCode ?? 'nothing'}`,
  );
  const failed = new Promise<Error>((resolve) => child.once('error', resolve));
  const stop = async (): Promise<void> => {
    stopping = true;
    child.kill('SIGTERM');
    await ended(child);
  };
  const untilMs = Date.now() + startMsMax;
  while (!(await isListening(port))) {
    const lost = child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
    if (lost || Date.now() > untilMs) {
      const cause = child.pid === undefined ? await failed : undefined;
      if (child.pid !== undefined) await stop();
      const said = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n').at(-1) ?? '';
      throw new TidemarkError('unreachable', `nats-server did not start: ${said}`, {}, cause);
    }
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  return { url: `nats://${host}:${port}`, pid: child.pid, gone, stop };
};
