import { TidemarkError, toHex } from '@tidemark/model';
import type { Caller, Link, Service, Transport } from '@tidemark/ports';
import { createLocalTransport } from '@tidemark/transport-local';
import type { SeededRandom } from '../convergence/seeded-random.js';
import type { SimContext } from './context.js';
import type { Life } from './scheduler.js';
import type { SimStream } from './sim-stream.js';

/** Time after which a call without an answer ends, ms. */
export const callMsMax = 5_000;
/** Servers that one question reaches at most. */
const serversAskedMax = 3;
/** Offers of one envelope to the stream. */
const publishTriesMax = 4;

/** Faults of the way between one device and the servers. */
export interface PathFaults {
  /** Nothing goes out, nothing comes in. */
  blockedOut: boolean;
  blockedIn: boolean;
  lossPercent: number;
  ackLossPercent: number;
  doublePercent: number;
  /** Longest time of one way, ms. */
  wayMsMax: number;
  /** Bytes that one ms carries; 0: any. */
  bytesPerMs: number;
}

export const quietPath = (): PathFaults => ({
  blockedOut: false,
  blockedIn: false,
  lossPercent: 0,
  ackLossPercent: 0,
  doublePercent: 0,
  wayMsMax: 30,
  bytesPerMs: 0,
});

/** A server as the network sees it. */
export interface NetworkServer {
  readonly name: string;
  /** Null while the process is down or opens. */
  readonly up: () => { readonly life: Life; readonly service: Service } | null;
  /** Calls back when the process ends. */
  readonly onDown: (callback: () => void) => () => void;
}

/** What the network is built on. */
export interface NetworkOptions {
  readonly context: SimContext;
  readonly random: SeededRandom;
  readonly servers: readonly NetworkServer[];
  /** The stream into which devices store by themselves; null: servers store for them. */
  readonly stream: SimStream | null;
  readonly envelopeEntry: (caller: Caller, envelope: Uint8Array) => Uint8Array;
  /** Told of each message that reaches a device. */
  readonly onReceived?: (device: string, bytes: Uint8Array) => void;
  readonly onPublished?: (caller: Caller, envelope: Uint8Array) => void;
}

const timedOut = (): TidemarkError => new TidemarkError('timeout', 'no answer came in time');
const unreachable = (): TidemarkError => new TidemarkError('unreachable', 'nobody is there');

const holds = (bytes: Uint8Array, text: string): boolean => Buffer.from(bytes).includes(text);

/** Whether an answer is packed though nothing was to be packed for it. */
const wasPassedOn = (body: Uint8Array, answer: Uint8Array): boolean =>
  holds(answer, '"packed":') && holds(body, '"ready":') && !holds(body, '"codecs":');

/** The network between devices and servers: it loses, doubles, delays and cuts, as its faults say. */
export class SimNetwork {
  readonly paths = new Map<string, PathFaults>();
  readonly #options: NetworkOptions;
  readonly #cuts = new Map<string, Set<() => void>>();

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  path(device: string): PathFaults {
    let path = this.paths.get(device);
    if (path === undefined) {
      path = quietPath();
      this.paths.set(device, path);
    }
    return path;
  }

  /** Loses all links of a device at once. */
  cut(device: string): number {
    const cuts = [...(this.#cuts.get(device) ?? [])];
    for (const cut of cuts) cut();
    return cuts.length;
  }

  heal(): void {
    this.paths.clear();
  }

  /** Transport of one process of a device. */
  transportOf(device: string, life: Life): Transport {
    return {
      open: (caller, signal) => life.pass(this.#open(device, life, caller, signal)),
    };
  }

  async #open(
    device: string,
    life: Life,
    caller: Caller,
    signal: Parameters<Transport['open']>[1],
  ): Promise<Link> {
    const { random, servers, context } = this.#options;
    const server = servers[random.below(servers.length)] as NetworkServer;
    if (server.up() === null) {
      await context.scheduler.sleep(random.below(40), signal);
      throw unreachable();
    }
    // The first question: a cut way is noticed here.
    await this.#exchange(device, life, server, 64, () => Promise.resolve(new Uint8Array(0)));
    const transport = createLocalTransport({
      service: this.#serviceFor(device, life, server),
      timer: life.timer,
    });
    const link = await transport.open(caller, signal);
    const cut = (): void => transport.setOnline(false);
    const cuts = this.#cuts.get(device) ?? new Set();
    this.#cuts.set(device, cuts);
    cuts.add(cut);
    const stopDown = server.onDown(() => {
      // Who is cut off does not even see the end of the other side.
      const { blockedIn } = this.path(device);
      context.scheduler.after(blockedIn ? callMsMax : random.below(100), cut);
    });
    link.onLost(() => {
      cuts.delete(cut);
      stopDown();
      context.saw('a link was lost');
    });
    return {
      publish: (envelope, within) => life.pass(link.publish(envelope, within)),
      request: (endpoint, body, within) => life.pass(link.request(endpoint, body, within)),
      waitForTick: (ms, within) => life.pass(link.waitForTick(ms, within)),
      onLost: (callback) => link.onLost(() => life.enter(callback)),
      close: () => {
        cuts.delete(cut);
        stopDown();
        return life.pass(link.close());
      },
    };
  }

  #serviceFor(device: string, life: Life, server: NetworkServer): Service {
    const { stream, onPublished, context, random } = this.#options;
    return {
      publish: async (caller, envelope) => {
        onPublished?.(caller, envelope);
        if (stream !== null) return this.#store(device, life, caller, envelope);
        await this.#exchange(device, life, server, envelope.length, async (service) => {
          await service.publish(caller, envelope);
          return new Uint8Array(0);
        });
      },
      answer: async (caller, endpoint, body) => {
        context.saw(`asked ${endpoint}`);
        for (let asked = 1; ; asked += 1) {
          try {
            const asks = stream === null ? server : this.#anyServer();
            const answer = await this.#exchange(device, life, asks, body.length, (service) =>
              service.answer(caller, endpoint, body),
            );
            if (endpoint === 'pull' && wasPassedOn(body, answer))
              context.saw('a pack was passed on as it lies');
            return answer;
          } catch (cause) {
            // Over NATS every question may be asked twice: another server answers it perhaps.
            const { code } = cause as { readonly code?: string };
            const mayAskAgain = stream !== null && (code === 'behind' || code === 'timeout');
            if (code === 'behind') context.saw('a server was behind');
            if (!mayAskAgain || asked >= serversAskedMax) throw cause;
          }
        }
      },
      onTick: (callback) => {
        const up = server.up();
        if (up === null) return () => undefined;
        return up.service.onTick(() => {
          const path = this.path(device);
          if (path.blockedIn || random.chance(path.lossPercent)) return;
          context.scheduler.after(this.#wayMs(path, 16), () => life.enter(callback));
        });
      },
    };
  }

  /** Stores an envelope in the stream, as devices do over NATS: again with the same id until it is known. */
  async #store(device: string, life: Life, caller: Caller, envelope: Uint8Array): Promise<void> {
    const { random, stream, envelopeEntry, context } = this.#options;
    if (stream === null) throw unreachable();
    const id = toHex(random.bytes(12));
    const entry = envelopeEntry(caller, envelope);
    let failure = timedOut();
    for (let tried = 0; tried < publishTriesMax; tried += 1) {
      if (tried > 0) await life.timer.sleep(random.below(400));
      try {
        const tag = await this.#travel(device, life, envelope.length, 16, () => {
          if (stream.faults.isDown) return Promise.reject(unreachable());
          const offered = stream.offer(id, entry);
          if (offered.tag === 'stored' && offered.isDuplicate) context.saw('the stream knew an id');
          return Promise.resolve(offered.tag);
        });
        if (tag === 'stored') return;
        if (tag === 'full') {
          context.saw('the stream was full');
          throw new TidemarkError('input-full', 'the input of the server has no space left');
        }
      } catch (cause) {
        if (!(cause instanceof TidemarkError) || cause.code !== 'timeout') throw cause;
        failure = cause;
      }
    }
    throw failure;
  }

  #anyServer(): NetworkServer {
    const { servers, random } = this.#options;
    const up = servers.filter((one) => one.up() !== null);
    return (up.length === 0 ? servers : up)[
      random.below(up.length || servers.length)
    ] as NetworkServer;
  }

  #exchange(
    device: string,
    life: Life,
    server: NetworkServer,
    bytes: number,
    work: (service: Service) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    return this.#travel(device, life, bytes, 0, () => {
      const up = server.up();
      if (up === null) return Promise.reject(unreachable());
      // What a process that ends was doing is never answered.
      return up.life.pass(work(up.service));
    }).then((answer) => {
      this.#options.onReceived?.(device, answer);
      return answer;
    });
  }

  /** One question and its answer: each way takes its time, and may lose what goes there. */
  #travel<A>(
    device: string,
    life: Life,
    bytesOut: number,
    bytesIn: number,
    work: () => Promise<A>,
  ): Promise<A> {
    const { context, random } = this.#options;
    const { scheduler } = context;
    return new Promise<A>((resolve, reject) => {
      if (!life.alive) return;
      const path = this.path(device);
      let timeoutMs = callMsMax;
      if (path.bytesPerMs > 0) timeoutMs += Math.ceil(bytesOut / path.bytesPerMs);
      const cancel = scheduler.after(timeoutMs, () => {
        context.saw('a call timed out');
        reject(timedOut());
      });
      const back = (bytes: number, run: () => void): void => {
        const now = this.path(device);
        if (now.blockedIn || random.chance(now.ackLossPercent)) {
          context.fault(now.blockedIn ? 'partition in' : 'answer lost');
          return;
        }
        scheduler.after(this.#wayMs(now, bytes), () => {
          cancel();
          run();
        });
      };
      const arrive = (): void => {
        work().then(
          (answer) =>
            back(answer instanceof Uint8Array ? answer.length : bytesIn, () => resolve(answer)),
          (cause: unknown) => back(64, () => reject(cause)),
        );
      };
      if (path.blockedOut || random.chance(path.lossPercent)) {
        context.fault(path.blockedOut ? 'partition out' : 'message lost');
        return;
      }
      scheduler.after(this.#wayMs(path, bytesOut), arrive);
      if (random.chance(path.doublePercent)) {
        context.fault('message doubled');
        scheduler.after(this.#wayMs(path, bytesOut), () => void work().catch(() => undefined));
      }
    });
  }

  #wayMs(path: PathFaults, bytes: number): number {
    const { random } = this.#options;
    const slow = path.bytesPerMs === 0 ? 0 : bytes / path.bytesPerMs;
    return random.below(path.wayMsMax + 1) + slow;
  }
}
