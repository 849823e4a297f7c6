import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpointFolder } from '@tidemark/store-level/node';
import { createMemoryCheckpoints, registerCheckpointFolderContract } from '@tidemark/testkit';
import { expect, it } from 'vitest';

registerCheckpointFolderContract('files', async () => {
  const path = await mkdtemp(join(tmpdir(), 'tidemark-checkpoints-'));
  return {
    folder: openCheckpointFolder(join(path, 'checkpoints')),
    dispose: () => rm(path, { recursive: true }),
  };
});

registerCheckpointFolderContract('memory', () =>
  Promise.resolve({ folder: createMemoryCheckpoints(), dispose: () => Promise.resolve() }),
);

it('[STO-85] does not list what a crash or a copy by hand left incomplete', async () => {
  const path = await mkdtemp(join(tmpdir(), 'tidemark-checkpoints-'));
  try {
    const folder = openCheckpointFolder(path);
    await mkdir(join(path, '.writing-a'));
    await writeFile(join(path, '.writing-a', 'chunks.bin'), 'half');
    await utimes(join(path, '.writing-a', 'chunks.bin'), new Date(0), new Date(0));
    await mkdir(join(path, 'b'));
    await writeFile(join(path, 'b', 'chunks.bin'), 'no manifest');
    expect(await folder.list()).toEqual([]);
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(new Uint8Array(2));
    };
    for (const name of ['a', 'b']) await folder.write(name, new Uint8Array(2), chunks());
    expect(await folder.list()).toEqual(['a', 'b']);
    expect((await readdir(path)).sort()).toEqual(['a', 'b']);
  } finally {
    await rm(path, { recursive: true });
  }
});
