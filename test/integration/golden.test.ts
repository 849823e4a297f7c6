import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { goldenFiles } from './golden-contents.js';

const folder = fileURLToPath(new URL('../golden/v1', import.meta.url));
const bytesOf = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(path.join(folder, `${name}.bin`)));

describe('[MOD-63] golden bytes of format 1', () => {
  test('every kept file is read by a test', () => {
    const kept = readdirSync(folder).sort();
    expect(kept).toEqual(goldenFiles.map(({ name }) => `${name}.bin`).sort());
  });

  test.each(goldenFiles.map((file) => [file.name, file] as const))(
    '%s opens with the content it was written with',
    (name, { decode, content }) => {
      expect(decode(bytesOf(name))).toEqual(content);
    },
  );

  // As long as format 1 is the newest, the same content must give the same bytes: chains, hashes and
  // fingerprints are taken over them.
  test.each(goldenFiles.map((file) => [file.name, file] as const))(
    '%s is still written as it was',
    (name, { encode }) => {
      expect(Buffer.from(encode()).toString('hex')).toBe(
        Buffer.from(bytesOf(name)).toString('hex'),
      );
    },
  );
});
