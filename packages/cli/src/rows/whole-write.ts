import { stat, type FileHandle } from 'node:fs/promises';
import { TidemarkError } from '@tidemark/model';

/** Writes all bytes at a place: one write may take fewer than it is given, such as on a disk that fills up. */
export const writeAll = async (
  file: Pick<FileHandle, 'write'>,
  bytes: Uint8Array,
  place: number,
): Promise<void> => {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, place + at);
    if (bytesWritten === 0)
      throw new TidemarkError('storage-unavailable', 'the file takes no more bytes');
    at += bytesWritten;
  }
};

/** Refuses to go on in a file that lost bytes since they were noted: zeros would stand in their place. */
export const requireNotedLength = async (file: string, noted: number): Promise<void> => {
  if (noted === 0) return;
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size < noted)
    throw new TidemarkError(
      'invalid-option',
      `${file} is shorter than noted, ${size} bytes in place of ${noted}: give --restart to begin anew`,
    );
};
