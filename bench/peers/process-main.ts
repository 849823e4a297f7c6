// A process that plays the server or a device of one engine: `process-main.js ENGINE server|device`.
import { Socket } from 'node:net';
import { peers } from './peers.js';
import type { PeerDevice, PeerServer } from './roles.js';

interface Call {
  readonly id: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

/** Bytes of connections that this process opened, both ways; those that are open are added. */
let closedBytes = 0;
const open = new Set<Socket>();
const connect = Reflect.get(Socket.prototype, 'connect');
Reflect.set(Socket.prototype, 'connect', function (this: Socket, ...args: unknown[]): unknown {
  open.add(this);
  this.once('close', () => {
    if (open.delete(this)) closedBytes += this.bytesRead + this.bytesWritten;
  });
  return Reflect.apply(connect, this, args);
});

const usage = () => {
  let bytes = closedBytes;
  for (const { bytesRead, bytesWritten } of open) bytes += bytesRead + bytesWritten;
  return { bytes, peakRssMb: Math.round(process.resourceUsage().maxRSS / 1_024) };
};

const [, , name = '', part = ''] = process.argv;
const peer = peers[name];
if (peer === undefined) throw new Error(`there is no engine ${name}`);
const role: PeerServer | PeerDevice = part === 'server' ? peer.server() : peer.device();

const answer = async ({ id, name: called, args }: Call): Promise<object> => {
  try {
    if (called === 'usage') return { id, result: usage() };
    const work = Reflect.get(role, called) as (...given: readonly unknown[]) => unknown;
    return { id, result: await work(...args) };
  } catch (cause) {
    return { id, error: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) };
  }
};

process.on('message', (call: Call) => {
  void answer(call).then((done) => process.send?.(done));
});
process.on('disconnect', () => process.exit(0));
