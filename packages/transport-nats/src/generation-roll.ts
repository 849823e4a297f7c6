import { TidemarkError } from '@tidemark/model';
import type { StreamExtent, StreamStore } from './stream-store.js';

/** Bytes at which a generation ends and the next one begins, unless an option says otherwise. */
export const generationBytesDefault = 256 * 1024 * 1024;
/** Fewest bytes that may be asked for: each generation is a stream of its own. */
export const generationBytesMin = 64 * 1024;
/** Times that one roll tries to end a generation while others store into it; the next look tries again. */
export const rollTriesMax = 16;
/** Pause after a roll that failed, ms. */
export const rollPauseMs = 1_000;

/** How generations roll by their size. */
export interface GenerationRoll {
  readonly bytes: number;
  /** First entry of each generation that begins so: it decides nothing. */
  readonly first: Uint8Array;
}

/** Bytes at which generations roll. Throws `invalid-option` for fewer than a stream is worth. */
export const checkedGenerationBytes = (bytes = generationBytesDefault): number => {
  if (Number.isSafeInteger(bytes) && bytes >= generationBytesMin) return bytes;
  throw new TidemarkError(
    'invalid-option',
    `a generation of the input has at least ${generationBytesMin} bytes`,
    { option: 'generationBytes', min: generationBytesMin },
  );
};

/**
 * Whether a generation is to end by its size. Near the limit of all generations it is not: the next one would
 * have no room, and what is stored leaves only by a checkpoint.
 */
export const isGrown = (
  { bytes, bytesMax }: Pick<StreamExtent, 'bytes' | 'bytesMax'>,
  roll: GenerationRoll,
  { roomMin }: Pick<StreamStore, 'roomMin'>,
): boolean => bytes >= roll.bytes && (bytesMax < 0 || bytesMax - bytes >= roomMin);
