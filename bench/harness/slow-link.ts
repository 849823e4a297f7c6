import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { parentPort, Worker, workerData } from 'node:worker_threads';

/** A simulated way to a nats-server. */
export interface SlowLinkOptions {
  /** Address that the way leads to, `nats://host:port`. */
  readonly target: string;
  /** Bytes per second in each direction. */
  readonly bytesPerSecond: number;
  /** Time that each byte is under way, in each direction, ms. */
  readonly delayMs: number;
}

/** Bytes that wait in one direction before the sender is held up. */
const queueBytesMax = 1024 * 1024;
/** Largest piece that is delivered at once, in bytes. */
const pieceBytesMax = 4 * 1024;

/** Passes on what one socket says to another, no faster than the link, each piece after its delay. */
const carry = (from: Socket, to: Socket, { bytesPerSecond, delayMs }: SlowLinkOptions): void => {
  const queue: { readonly bytes: Uint8Array; readonly atMs: number }[] = [];
  let queued = 0;
  let freeAtMs = 0;
  let timer: NodeJS.Timeout | undefined;
  const deliver = (): void => {
    timer = undefined;
    const now = performance.now();
    for (let next = queue[0]; next !== undefined && next.atMs <= now; next = queue[0]) {
      queue.shift();
      queued -= next.bytes.length;
      if (!to.destroyed) to.write(next.bytes);
    }
    if (queued < queueBytesMax) from.resume();
    const [next] = queue;
    if (next !== undefined) timer = setTimeout(deliver, Math.max(1, next.atMs - now));
    else if (from.readableEnded) to.end();
  };
  from.on('data', (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += pieceBytesMax) {
      const piece = bytes.subarray(at, at + pieceBytesMax);
      const now = performance.now();
      freeAtMs = Math.max(now, freeAtMs) + (piece.length * 1_000) / bytesPerSecond;
      queue.push({ bytes: piece, atMs: freeAtMs + delayMs });
      queued += piece.length;
    }
    if (queued >= queueBytesMax) from.pause();
    timer ??= setTimeout(deliver, 1);
  });
  from.on('end', () => (timer ??= setTimeout(deliver, 1)));
  from.on('close', () => {
    if (from.errored !== null) to.destroy();
  });
  from.on('error', () => undefined);
};

/** Serves the link in a thread of its own, so that the device does not hold it up; tells its port. */
const serve = (options: SlowLinkOptions): void => {
  const { hostname, port } = new URL(options.target);
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const socket of [near, far]) socket.setNoDelay(true);
    carry(near, far, options);
    carry(far, near, options);
  });
  server.listen(0, '127.0.0.1', () =>
    parentPort?.postMessage((server.address() as AddressInfo).port),
  );
};

/** A way to a nats-server that is slow and far. */
export interface SlowLink {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Opens a slow way to a nats-server. */
export const openSlowLink = async (slowLink: SlowLinkOptions): Promise<SlowLink> => {
  const worker = new Worker(new URL(import.meta.url), { workerData: { slowLink } });
  const [port] = (await once(worker, 'message')) as [number];
  return {
    url: `nats://127.0.0.1:${port}`,
    close: async () => {
      await worker.terminate();
    },
  };
};

const { slowLink } = (workerData ?? {}) as { readonly slowLink?: SlowLinkOptions };
if (slowLink !== undefined) serve(slowLink);
