import { TidemarkError, toHex, utf8Decode, utf8Encode, type Hash } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';
import type { StreamMessage, StreamReader } from './stream-reader.js';

/** Newest format of archives of the input. */
export const archiveFormat = 1;
/** Bytes of messages that an archive reads at a time. */
const archiveStepBytes = 1024 * 1024;
const archiveStepMessages = 1_000;

/** Range of a generation, both ends included. */
export interface ArchivedRange {
  readonly generation: number;
  readonly first: number;
  readonly last: number;
}

const nameOf = ({ generation, first, last }: ArchivedRange): string =>
  [
    'input',
    String(generation).padStart(10, '0'),
    String(first).padStart(15, '0'),
    String(last).padStart(15, '0'),
  ].join('-');

/** Message in an archive: length of the head (4 bytes), of the body (4), head as JSON, body as stored. */
const frameOf = ({ seq, atMs, subject, user, fromServer, bytes }: StreamMessage): Uint8Array => {
  const head = utf8Encode(JSON.stringify([seq, atMs, subject, user, fromServer ? 1 : 0]));
  const frame = new Uint8Array(8 + head.length + bytes.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, head.length);
  view.setUint32(4, bytes.length);
  frame.set(head, 8);
  frame.set(bytes, 8 + head.length);
  return frame;
};

/** Chained hash of frames: 32 zero bytes at the beginning. */
const chain = (hash: Hash, before: Uint8Array, frame: Uint8Array): Uint8Array => {
  const both = new Uint8Array(before.length + frame.length);
  both.set(before);
  both.set(frame, before.length);
  return hash(both);
};

async function* framesOf(reader: StreamReader, range: ArchivedRange): AsyncGenerator<Uint8Array> {
  for (let next = range.first; next <= range.last;) {
    const maxMessages = Math.min(archiveStepMessages, range.last - next + 1);
    const found = await reader.read(next, { maxBytes: archiveStepBytes, maxMessages });
    if (found.length === 0)
      throw new TidemarkError('unreachable', 'the input delivers nothing for now');
    for (const message of found) {
      if (message.seq > range.last) return;
      // A hole stays a hole: the numbers in the archive show it.
      yield frameOf(message);
      next = message.seq + 1;
    }
  }
}

/** Frames of an archive, whatever the pieces in which it is read. Rejects with `storage-damaged`. */
async function* framesIn(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = new Uint8Array(0);
  for await (const chunk of chunks) {
    const joined = new Uint8Array(rest.length + chunk.length);
    joined.set(rest);
    joined.set(chunk, rest.length);
    const view = new DataView(joined.buffer);
    let at = 0;
    while (at + 8 <= joined.length) {
      const end = at + 8 + view.getUint32(at) + view.getUint32(at + 4);
      if (end > joined.length) break;
      yield joined.slice(at, end);
      at = end;
    }
    rest = joined.slice(at);
  }
  if (rest.length > 0)
    throw new TidemarkError('storage-damaged', 'an archive of the input ends within a message');
}

const hashOfArchive = async (
  archive: CheckpointFolder,
  name: string,
  hash: Hash,
): Promise<string> => {
  let head: Uint8Array = new Uint8Array(32);
  for await (const frame of framesIn(archive.readChunks(name))) head = chain(hash, head, frame);
  return toHex(head);
};

/**
 * Copies a range of a generation into an archive and reads it back. Resolves only when the copy is what
 * the stream held; a copy of the same range that is there already is compared and used. Rejects with
 * `storage-damaged` when it reads back differently: then nothing may be removed.
 */
export const archiveGeneration = async (
  archive: CheckpointFolder,
  reader: StreamReader,
  hash: Hash,
  range: ArchivedRange,
): Promise<void> => {
  if (range.last < range.first) return;
  const name = nameOf(range);
  let head: Uint8Array = new Uint8Array(32);
  let messages = 0;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const frame of framesOf(reader, range)) {
      head = chain(hash, head, frame);
      messages += 1;
      yield frame;
    }
  };
  try {
    if (!(await archive.list()).includes(name)) {
      const manifest = utf8Encode(JSON.stringify({ format: archiveFormat, ...range }));
      await archive.write(name, manifest, counted());
    } else for await (const frame of counted()) void frame;
    const kept = await hashOfArchive(archive, name, hash);
    if (kept !== toHex(head))
      throw new TidemarkError(
        'storage-damaged',
        'the archive of the input reads back differently',
        {
          archive: name,
          messages,
        },
      );
  } finally {
    await reader.close();
  }
};

/** Message that an archive holds, as it lay in the stream. */
export interface ArchivedMessage {
  readonly seq: number;
  readonly atMs: number;
  readonly subject: string;
  readonly user: string;
  readonly bytes: Uint8Array;
}

/** Messages of an archive in order. Rejects with `storage-damaged` when it ends within one. */
export async function* readArchive(
  archive: CheckpointFolder,
  name: string,
): AsyncGenerator<ArchivedMessage> {
  for await (const frame of framesIn(archive.readChunks(name))) {
    const length = new DataView(frame.buffer, frame.byteOffset).getUint32(0);
    const head: unknown = JSON.parse(utf8Decode(frame.subarray(8, 8 + length)));
    const [seq, atMs, subject, user] = head as [number, number, string, string];
    yield { seq, atMs, subject, user, bytes: frame.subarray(8 + length) };
  }
}
