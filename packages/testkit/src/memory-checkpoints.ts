import { TidemarkError } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';

interface Checkpoint {
  readonly manifest: Uint8Array;
  readonly chunks: readonly Uint8Array[];
}

/** Builds a CheckpointFolder that keeps its checkpoints in memory. */
export const createMemoryCheckpoints = (): CheckpointFolder => {
  const checkpoints = new Map<string, Checkpoint>();
  const find = (name: string): Checkpoint => {
    const found = checkpoints.get(name);
    if (found === undefined)
      throw new TidemarkError('checkpoint-invalid', `there is no checkpoint ${name}`);
    return found;
  };
  return {
    write: async (name, manifest, chunks) => {
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name))
        throw new TidemarkError('invalid-option', 'a checkpoint name is malformed');
      if (checkpoints.has(name))
        throw new TidemarkError('invalid-option', `checkpoint ${name} exists`);
      const kept: Uint8Array[] = [];
      for await (const chunk of chunks) kept.push(new Uint8Array(chunk));
      checkpoints.set(name, { manifest: new Uint8Array(manifest), chunks: kept });
    },
    list: () =>
      Promise.resolve([...checkpoints.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))),
    readManifest: async (name) => new Uint8Array((await Promise.resolve(find(name))).manifest),
    readChunks: (name) =>
      (async function* read(): AsyncGenerator<Uint8Array> {
        for (const chunk of find(name).chunks) yield await Promise.resolve(new Uint8Array(chunk));
      })(),
    remove: (name) => {
      checkpoints.delete(name);
      return Promise.resolve();
    },
  };
};
