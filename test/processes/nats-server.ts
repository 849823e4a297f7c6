import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Transform } from 'node:stream';

/** Program of nats-server that the global set-up found; undefined skips the tests that need it. */
export const natsProgram = process.env['TIDEMARK_NATS_SERVER'];
/** Whether that program can fsync before it acknowledges. */
export const natsIsDurable = process.env['TIDEMARK_NATS_DURABLE'] === '1';

const startMsMax = 15_000;
const host = '127.0.0.1';

/** A free port of the loopback. Somebody else could take it before it is used; nobody does here. */
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

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });

/** A nats-server of a test, on the loopback, with JetStream in a folder of its own. */
export class NatsServer {
  readonly port: number;
  readonly webSocketPort: number;
  readonly folder: string;
  #more: string;
  #process: ChildProcess | undefined;

  private constructor(folder: string, port: number, webSocketPort: number, more: string) {
    this.folder = folder;
    this.port = port;
    this.webSocketPort = webSocketPort;
    this.#more = more;
  }

  /** Starts a cluster whose servers store each message of a stream with three replicas on three of them. */
  static async startCluster(size: number): Promise<readonly NatsServer[]> {
    const ports: number[] = [];
    for (let i = 0; i < size; i += 1) ports.push(await freePort());
    const routes = ports.map((port) => JSON.stringify(`nats-route://${host}:${port}`)).join(', ');
    const starting = ports.map((port, i) =>
      NatsServer.start(
        [
          `server_name: "node-${i}"`,
          `cluster { name: "test", listen: "${host}:${port}", routes: [${routes}] }`,
        ].join('\n'),
      ),
    );
    return Promise.all(starting);
  }

  /** Starts a server; `more` is added to its configuration. */
  static async start(more = ''): Promise<NatsServer> {
    const folder = await mkdtemp(path.join(tmpdir(), 'tidemark-nats-'));
    const server = new NatsServer(folder, await freePort(), await freePort(), more);
    await server.run();
    return server;
  }

  get url(): string {
    return `nats://${host}:${this.port}`;
  }

  get webSocketUrl(): string {
    return `ws://${host}:${this.webSocketPort}`;
  }

  /** Replaces what was added to the configuration: the next run knows it. */
  configure(more: string): void {
    this.#more = more;
  }

  /** Process id of the server that runs. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Runs the server on its folder and ports, also again after `kill` or `stop`. */
  async run(): Promise<void> {
    if (natsProgram === undefined) throw new Error('there is no nats-server');
    const store = path.join(this.folder, 'store');
    const sync = natsIsDurable ? ', sync_interval: always' : '';
    const config = [
      `listen: "${host}:${this.port}"`,
      `jetstream { store_dir: ${JSON.stringify(store)}${sync} }`,
      `websocket { listen: "${host}:${this.webSocketPort}", no_tls: true }`,
      this.#more,
    ].join('\n');
    const file = path.join(this.folder, 'nats.conf');
    const log = path.join(this.folder, 'nats.log');
    await writeFile(file, config);
    const child = spawn(natsProgram, ['-c', file, '-l', log], { stdio: 'ignore' });
    this.#process = child;
    let ended = false;
    child.once('exit', () => {
      ended = true;
    });
    const untilMs = Date.now() + startMsMax;
    while (!(await isListening(this.port))) {
      if (ended || Date.now() > untilMs) {
        await this.kill();
        const text = await readFile(log, 'utf8').catch(() => '');
        throw new Error(`nats-server did not start: ${text.slice(-2_000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Sends a signal, by process id. */
  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  /** kill -9; resolves when the process is gone. Its folder stays. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Ends the server and removes its folder. */
  async dispose(): Promise<void> {
    await this.#end('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }

  async #end(name: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(name);
    await gone;
  }
}

/** Bytes that a slow wire passes on at once. */
const pieceBytes = 4 * 1024;
/** Delay that a slow wire makes up for, ms. */
const lagMsMax = 250;
/** Time without bytes from which on there is no lag to make up for, ms. */
const quietMsMin = 20;

/** A wire to a port of the loopback that a test can cut, slow down, or stop on its way back. */
export class Wire {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isOpen = true;
  /** Bytes that still come back before the wire stops. */
  #allowance = Number.POSITIVE_INFINITY;
  #bytesPerSecond = Number.POSITIVE_INFINITY;
  #release: () => void = () => undefined;
  #released: Promise<void> = Promise.resolve();

  private constructor(to: number, onConnected: () => void) {
    this.#server = createServer((near) => {
      onConnected();
      if (!this.#isOpen) {
        near.destroy();
        return;
      }
      const far = connect(to, host);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far);
      far.pipe(this.#wayBack()).pipe(near);
    });
  }

  /** Opens a wire to a port. */
  static async open(to: number, onConnected: () => void = () => undefined): Promise<Wire> {
    const wire = new Wire(to, onConnected);
    await new Promise<void>((resolve) => wire.#server.listen(0, host, resolve));
    return wire;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get url(): string {
    return `nats://${host}:${this.port}`;
  }

  /** What comes back stops after so many bytes, until it is let go. Nothing of it is lost. */
  stopAfter(bytes: number): void {
    this.#allowance = bytes;
    this.#released = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  /** Lets everything through again. */
  letGo(): void {
    this.#allowance = Number.POSITIVE_INFINITY;
    this.#release();
  }

  /** What comes back is that slow from now on. */
  setSpeed(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
  }

  #wayBack(): Transform {
    let dueMs = 0;
    let passedMs = 0;
    const wait = async (bytes: number): Promise<void> => {
      if (!Number.isFinite(this.#bytesPerSecond)) return;
      const nowMs = performance.now();
      // A late wake-up is made up for: the speed is kept on a busy machine, too. A quiet time is not.
      const wasQuiet = nowMs - passedMs > quietMsMin;
      const fromMs = wasQuiet ? nowMs : Math.max(dueMs, nowMs - lagMsMax);
      dueMs = Math.max(dueMs, fromMs) + (1_000 * bytes) / this.#bytesPerSecond;
      if (dueMs > nowMs) await new Promise((resolve) => setTimeout(resolve, dueMs - nowMs));
      passedMs = performance.now();
    };
    const pass = async (way: Transform, chunk: Buffer): Promise<void> => {
      for (let at = 0; at < chunk.length;) {
        while (this.#allowance <= 0) await this.#released;
        const size = Math.min(pieceBytes, chunk.length - at, this.#allowance);
        await wait(size);
        way.push(chunk.subarray(at, at + size));
        this.#allowance -= size;
        at += size;
      }
    };
    return new Transform({
      transform(chunk: Buffer, _encoding, done) {
        pass(this, chunk).then(() => done(), done);
      },
    });
  }

  /** Connections that are open now. */
  connections(): number {
    return this.#sockets.size / 2;
  }

  /** Loses all connections; new ones work at once. */
  cut(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  /** False loses all connections and refuses new ones. */
  setOpen(isOpen: boolean): void {
    this.#isOpen = isOpen;
    if (!isOpen) this.cut();
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
