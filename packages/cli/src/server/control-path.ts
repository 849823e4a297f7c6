import { createHash } from 'node:crypto';
import path from 'node:path';

/** Longest address of a socket that all systems take, bytes. */
const socketPathBytesMax = 100;

/** Bytes of one request or answer between a command and a running server. */
export const controlBytesMax = 32 * 1024 * 1024;

/**
 * Address of the socket of the server of a folder: a file in it, or a named pipe on Windows. The shorter of
 * the whole and the relative path is taken, because systems bound its length.
 */
export const controlPath = (folder: string): string => {
  if (process.platform === 'win32') {
    const hash = createHash('sha256').update(path.resolve(folder).toLowerCase()).digest('hex');
    return `\\\\.\\pipe\\tidemark-${hash.slice(0, 32)}`;
  }
  const whole = path.join(path.resolve(folder), 'control.sock');
  const relative = path.relative(process.cwd(), whole);
  return relative !== '' && relative.length < whole.length ? relative : whole;
};

/** True when a socket can have this address. */
export const fitsSocket = (address: string): boolean =>
  process.platform === 'win32' || Buffer.byteLength(address) <= socketPathBytesMax;
