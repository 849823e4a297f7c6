import { toHex, utf8Encode } from '@tidemark/model';
import type { CheckpointFolder } from '@tidemark/ports';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** One folder of checkpoints under test. */
export interface CheckpointFolderHarness {
  readonly folder: CheckpointFolder;
  /** Removes what the harness made. */
  readonly dispose: () => Promise<void>;
}

async function* chunksOf(...sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (const size of sizes)
    yield await Promise.resolve(new Uint8Array(size).map((_, i) => (i * 7 + size) & 255));
}

const joined = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => {
  let text = '';
  for await (const chunk of chunks) text += toHex(chunk);
  return text;
};

/** Registers the rules that every CheckpointFolder keeps. */
export const registerCheckpointFolderContract = (
  name: string,
  createHarness: () => Promise<CheckpointFolderHarness>,
): void => {
  describe(`${name}: CheckpointFolder`, () => {
    let harness: CheckpointFolderHarness;
    let folder: CheckpointFolder;
    beforeEach(async () => {
      harness = await createHarness();
      folder = harness.folder;
    });
    afterEach(() => harness.dispose());

    it('[STO-85] shows a checkpoint when it is complete, not before', async () => {
      expect(await folder.list()).toEqual([]);
      let listed: readonly string[] | undefined;
      const chunks = async function* (): AsyncGenerator<Uint8Array> {
        yield new Uint8Array(10);
        listed = await folder.list();
        yield new Uint8Array(10);
      };
      await folder.write('0001', utf8Encode('{}'), chunks());
      expect(listed).toEqual([]);
      expect(await folder.list()).toEqual(['0001']);
    });

    it('[STO-86] lists by name, the oldest first', async () => {
      for (const each of ['0010', '0002', '0001'])
        await folder.write(each, utf8Encode(each), chunksOf(1));
      expect(await folder.list()).toEqual(['0001', '0002', '0010']);
    });

    it('[STO-87] gives back manifest and bytes, in chunks of bounded size', async () => {
      const sizes = [0, 1, 300_000, 1_048_576, 17];
      await folder.write('big', utf8Encode('{"a":1}'), chunksOf(...sizes));
      await folder.write('none', new Uint8Array(0), chunksOf());
      expect(toHex(await folder.readManifest('big'))).toBe(toHex(utf8Encode('{"a":1}')));
      expect(await joined(folder.readChunks('big'))).toBe(await joined(chunksOf(...sizes)));
      expect(await joined(folder.readChunks('none'))).toBe('');
      for await (const chunk of folder.readChunks('big'))
        expect(chunk.length).toBeLessThanOrEqual(1_048_576);
    });

    it('[STO-88] removes a checkpoint, and one that is not there', async () => {
      await folder.write('a', utf8Encode('{}'), chunksOf(5));
      await folder.write('b', utf8Encode('{}'), chunksOf(5));
      await folder.remove('a');
      await folder.remove('never');
      expect(await folder.list()).toEqual(['b']);
      await expect(folder.readManifest('a')).rejects.toMatchObject({ code: 'checkpoint-invalid' });
      await expect(joined(folder.readChunks('a'))).rejects.toMatchObject({
        code: 'checkpoint-invalid',
      });
      await folder.write('a', utf8Encode('again'), chunksOf(6));
      expect(await folder.list()).toEqual(['a', 'b']);
    });

    it('[STO-89] leaves nothing behind when the chunks fail, and the name is free', async () => {
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield await Promise.resolve(new Uint8Array(10));
        throw new Error('the source failed');
      };
      await expect(folder.write('x', utf8Encode('{}'), failing())).rejects.toThrow();
      expect(await folder.list()).toEqual([]);
      await folder.write('x', utf8Encode('{}'), chunksOf(3));
      expect(await joined(folder.readChunks('x'))).toBe(await joined(chunksOf(3)));
    });

    it('[STO-90] refuses malformed names and names in use', async () => {
      await folder.write('a', utf8Encode('1'), chunksOf(1));
      for (const bad of ['', '.', '..', '../x', 'a/b', '.hidden', 'a', 'x'.repeat(129)])
        await expect(folder.write(bad, utf8Encode('2'), chunksOf(1)), bad).rejects.toMatchObject({
          code: 'invalid-option',
        });
      expect(toHex(await folder.readManifest('a'))).toBe(toHex(utf8Encode('1')));
      expect(await folder.list()).toEqual(['a']);
    });
  });
};
