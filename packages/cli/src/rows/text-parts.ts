import type { Readable } from 'node:stream';

/** Text of a stream, part by part, in UTF-8 without a byte order mark. The stream is closed at the end. */
export async function* textsOf(source: Readable): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8');
  try {
    for await (const part of source as AsyncIterable<Buffer | string>)
      yield typeof part === 'string' ? part : decoder.decode(part, { stream: true });
    yield decoder.decode();
  } finally {
    source.destroy();
  }
}
