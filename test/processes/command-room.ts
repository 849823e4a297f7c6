import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCli } from '@tidemark/cli';

/** How a command line ended and what it wrote. */
export interface RoomEnded {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A signal that is given between the looks of a command: behind a number of them. */
export const stopAfterLooks = (looks: number): AbortSignal => {
  const controller = new AbortController();
  let left = looks;
  return new Proxy(controller.signal, {
    get: (signal, name) => {
      if (name === 'aborted') {
        if (left <= 0) controller.abort();
        left -= 1;
      }
      const value: unknown = Reflect.get(signal, name, signal);
      return typeof value === 'function' ? (value.bind(signal) as unknown) : value;
    },
  });
};

/** A folder in which command lines run within this process. */
export class CommandRoom {
  readonly path = mkdtempSync(path.join(tmpdir(), 'tm-room-'));

  file(...names: string[]): string {
    return path.join(this.path, ...names);
  }

  read(...names: string[]): string {
    return readFileSync(this.file(...names), 'utf8');
  }

  write(name: string, text: string | Uint8Array): void {
    writeFileSync(this.file(name), text);
  }

  has(...names: string[]): boolean {
    return existsSync(this.file(...names));
  }

  /** Runs a command line to its end. */
  async run(args: readonly string[], signal = new AbortController().signal): Promise<RoomEnded> {
    const text = { out: '', err: '' };
    const sink = (name: keyof typeof text) => ({
      write: (part: string) => {
        text[name] += part;
        return true;
      },
    });
    const code = await runCli(args, {
      cwd: this.path,
      env: { PATH: process.env['PATH'] ?? '' },
      out: sink('out'),
      err: sink('err'),
      signal,
    });
    return { code, ...text };
  }

  /** Runs a command with `--json` that ends with 0; its document. */
  async json<A = Readonly<Record<string, unknown>>>(...args: string[]): Promise<A> {
    const { code, out, err } = await this.run([...args, '--json']);
    if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${err}`);
    return JSON.parse(out) as A;
  }

  /** Hash of every file below a folder, by its path. */
  hashes(...names: string[]): ReadonlyMap<string, string> {
    const folder = this.file(...names);
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .sort();
    return new Map(
      files.map((file) => [
        path.relative(folder, file),
        createHash('sha256').update(readFileSync(file)).digest('hex'),
      ]),
    );
  }

  dispose(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
