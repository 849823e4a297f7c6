import type { Compression } from '@tidemark/ports';
import { joinTail, type PackedTail, type TailPart } from '@tidemark/protocol';

/** Shortest tail of an answer that is worth packing, in bytes. */
export const packedBytesMin = 1_024;

/** Tail of an answer as it travels. */
export interface TravellingTail {
  readonly parts: readonly TailPart[];
  /** Absent: the parts are as they are. */
  readonly packed?: PackedTail;
}

/** Packs a tail, unless it is, by the first of the wanted codecs that this server knows, if it gets shorter by that. */
export const packTail = async (
  compression: Compression | undefined,
  wanted: readonly string[] | undefined,
  given: TravellingTail,
): Promise<TravellingTail> => {
  if (given.packed !== undefined) return given;
  const { parts } = given;
  const codec = wanted?.find((one) => compression?.codecs.includes(one));
  const bytes = parts.reduce((sum, { length }) => sum + length, 0);
  if (compression === undefined || codec === undefined || bytes < packedBytesMin) return { parts };
  const tail = await compression.pack(codec, joinTail(parts));
  return tail.length < bytes ? { parts: [tail], packed: { codec, bytes } } : { parts };
};
