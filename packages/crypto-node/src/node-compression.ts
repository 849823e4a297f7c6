import { brotliCompress, brotliDecompress, constants, deflateRaw, inflateRaw } from 'node:zlib';
import type { Compression } from '@tidemark/ports';

/** Codecs of Node, best first: Brotli packs pages as well as deflate in half of the time; browsers know only deflate. */
export const nodeCodecs: readonly string[] = ['brotli', 'deflate-raw'];

/** Binary logarithm of the window of Brotli: a message fits, and an unpacker takes no more memory for another one. */
const brotliWindowBits = 20;
const fastest = 1;
const chunkBytesMin = 1_024;

type Done = (error: Error | null, result: Buffer) => void;

const finished = (run: (done: Done) => void): Promise<Uint8Array> =>
  new Promise((resolve, reject) =>
    run((error, result) =>
      error === null
        ? resolve(new Uint8Array(result.buffer, result.byteOffset, result.length))
        : reject(error),
    ),
  );

/** Window that the first byte of a Brotli stream asks for (RFC 7932, 9.1); infinite where that is no window. */
const windowBitsOf = (first: number): number => {
  if ((first & 1) === 0) return 16;
  const large = (first >> 1) & 7;
  if (large !== 0) return 17 + large;
  const small = (first >> 4) & 7;
  if (small === 1) return Number.POSITIVE_INFINITY;
  return small === 0 ? 17 : 8 + small;
};

/** Brotli and raw deflate of Node's zlib at their fastest, on its threads. */
export const nodeCompression: Compression = {
  codecs: nodeCodecs,
  pack: async (codec, bytes) => {
    const chunkSize = Math.max(chunkBytesMin, bytes.length >> 1);
    if (codec === 'deflate-raw')
      return finished((done) => deflateRaw(bytes, { level: fastest, chunkSize }, done));
    if (codec !== 'brotli') throw new RangeError(`there is no codec ${codec}`);
    const params = {
      [constants.BROTLI_PARAM_QUALITY]: fastest,
      [constants.BROTLI_PARAM_LGWIN]: brotliWindowBits,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    };
    return finished((done) => brotliCompress(bytes, { params, chunkSize }, done));
  },
  unpack: async (codec, bytes, length) => {
    // zlib has no bound of 0 bytes.
    if (length < 1) return undefined;
    const isDeflate = codec === 'deflate-raw';
    if (!isDeflate && (codec !== 'brotli' || windowBitsOf(bytes[0] ?? 0) > brotliWindowBits))
      return undefined;
    // One chunk of the length that is expected: what comes behind it ends the work.
    const bounds = { maxOutputLength: length, chunkSize: Math.max(chunkBytesMin, length) };
    const unpacked = await finished((done) =>
      isDeflate ? inflateRaw(bytes, bounds, done) : brotliDecompress(bytes, bounds, done),
    ).catch(() => undefined);
    return unpacked?.length === length ? unpacked : undefined;
  },
};
