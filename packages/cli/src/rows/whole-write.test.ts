import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { writeAll } from './whole-write.js';

const folder = mkdtempSync(path.join(tmpdir(), 'tm-write-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('[CLI-15] a write that takes fewer bytes than it is given loses none', async () => {
  const file = path.join(folder, 'out');
  const handle = await open(file, 'w');
  // As a disk that is nearly full does.
  const short = {
    write: (bytes: Uint8Array, at: number, length: number, place: number) =>
      handle.write(bytes, at, Math.min(length, 7), place),
  } as unknown as FileHandle;
  const text = 'Every byte is written, whole and in its place.';
  await writeAll(short, Buffer.from(`${text}\n`), 0);
  await writeAll(short, Buffer.from(text), text.length + 1);
  const full = { write: () => Promise.resolve({ bytesWritten: 0 }) } as unknown as FileHandle;
  await expect(writeAll(full, Buffer.from('x'), 0)).rejects.toMatchObject({
    code: 'storage-unavailable',
  });
  await handle.close();
  expect(readFileSync(file, 'utf8')).toBe(`${text}\n${text}`);
});
