import { createServer } from 'node:net';
import { until, type CommandFolder, type Running } from './command-line.js';

/** A port of the loopback that is free now. */
export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : 0),
      );
    });
  });

/** Lines of a server's log. */
export const linesOf = (text: string): readonly Readonly<Record<string, unknown>>[] =>
  text
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);

/** A `serve` that runs, with the address of its health and metrics. */
export interface Serving extends Running {
  readonly http: string;
  readonly lines: () => readonly Readonly<Record<string, unknown>>[];
}

/** Starts `serve` and waits until it serves. */
export const startServing = async (
  folder: CommandFolder,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Serving> => {
  const running = folder.start(['serve', '--json', ...args], env);
  await until(() => running.out().includes('"serving"') || running.child.exitCode !== null);
  const lines = (): ReturnType<typeof linesOf> => linesOf(running.out());
  const serving = lines().find(({ event }) => event === 'serving');
  if (serving === undefined) throw new Error((await running.ended).err);
  return { ...running, http: String(serving['http']), lines };
};

/** Ends a server gracefully; its exit code. */
export const stopServing = async (serving: Running): Promise<number | null> => {
  serving.child.kill('SIGTERM');
  return (await serving.ended).code;
};
