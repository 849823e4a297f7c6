import {
  brotliCompress,
  brotliDecompress,
  brotliDecompressSync,
  constants,
  deflateRaw,
  inflateRaw,
  inflateRawSync,
  brotliCompressSync,
  deflateRawSync,
  type BrotliOptions,
  type ZlibOptions,
} from 'node:zlib';
import type { Compression } from '@tidemark/ports';

/** Codecs of Node, best first: Brotli packs pages as well as deflate in half of the time; browsers know only deflate. */
export const nodeCodecs: readonly string[] = ['brotli', 'deflate-raw'];

/** Binary logarithm of the window of Brotli: a message fits, and an unpacker takes no more memory for another one. */
const brotliWindowBits = 20;
const fastest = 1;
const chunkBytesMin = 1_024;

type Done = (error: Error | null, result: Buffer) => void;

const own = (bytes: Buffer): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);

const finished = (run: (done: Done) => void): Promise<Uint8Array> =>
  new Promise((resolve, reject) =>
    run((error, result) => (error === null ? resolve(own(result)) : reject(error))),
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

const deflateOptions = (bytes: Uint8Array): ZlibOptions => ({
  level: fastest,
  chunkSize: Math.max(chunkBytesMin, bytes.length >> 1),
});

const brotliOptions = (bytes: Uint8Array): BrotliOptions => ({
  chunkSize: Math.max(chunkBytesMin, bytes.length >> 1),
  params: {
    [constants.BROTLI_PARAM_QUALITY]: fastest,
    [constants.BROTLI_PARAM_LGWIN]: brotliWindowBits,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  },
});

const checkCodec = (codec: string): void => {
  if (!nodeCodecs.includes(codec)) throw new RangeError(`there is no codec ${codec}`);
};

/** Bounds of unpacking; undefined for what is refused by its first byte. */
const unpackOptions = (
  codec: string,
  bytes: Uint8Array,
  length: number,
): { readonly maxOutputLength: number; readonly chunkSize: number } | undefined => {
  // zlib has no bound of 0 bytes.
  if (length < 1 || !nodeCodecs.includes(codec)) return undefined;
  if (codec === 'brotli' && windowBitsOf(bytes[0] ?? 0) > brotliWindowBits) return undefined;
  // One chunk of the length that is expected: what comes behind it ends the work.
  return { maxOutputLength: length, chunkSize: Math.max(chunkBytesMin, length) };
};

/** Brotli and raw deflate of Node's zlib at their fastest, on its threads. */
export const nodeCompression: Compression = {
  codecs: nodeCodecs,
  pack: async (codec, bytes) => {
    checkCodec(codec);
    return finished((done) =>
      codec === 'brotli'
        ? brotliCompress(bytes, brotliOptions(bytes), done)
        : deflateRaw(bytes, deflateOptions(bytes), done),
    );
  },
  unpack: async (codec, bytes, length) => {
    const options = unpackOptions(codec, bytes, length);
    if (options === undefined) return undefined;
    const unpacked = await finished((done) =>
      codec === 'brotli'
        ? brotliDecompress(bytes, options, done)
        : inflateRaw(bytes, options, done),
    ).catch(() => undefined);
    return unpacked?.length === length ? unpacked : undefined;
  },
};

/** Unpacks as `nodeCompression` does, but at once and on the caller's thread. */
export const unpackNow = (
  codec: string,
  bytes: Uint8Array,
  length: number,
): Uint8Array | undefined => {
  const options = unpackOptions(codec, bytes, length);
  if (options === undefined) return undefined;
  try {
    const unpacked = codec === 'brotli' ? brotliDecompressSync : inflateRawSync;
    const out = own(unpacked(bytes, options));
    return out.length === length ? out : undefined;
  } catch {
    return undefined;
  }
};

/** The same on the caller's thread: what takes no time of its own, as a simulation needs it. */
export const compressionNow: Compression = {
  codecs: nodeCodecs,
  pack: async (codec, bytes) => {
    checkCodec(codec);
    return own(
      codec === 'brotli'
        ? brotliCompressSync(bytes, brotliOptions(bytes))
        : deflateRawSync(bytes, deflateOptions(bytes)),
    );
  },
  unpack: async (codec, bytes, length) => unpackNow(codec, bytes, length),
};
