import { createHash } from 'node:crypto';
import { mkdtemp, open, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InputLog } from '@tidemark/ports';
import { openInputLog } from '@tidemark/store-level';
import { openServerFolder } from '@tidemark/store-level/node';
import { positionsOf, registerInputLogContract } from '@tidemark/testkit';
import { MemoryLevel } from 'memory-level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const hash = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const clock = { nowMs: () => 1_000 };
const wide = { maxBytes: 10_000_000, maxMessages: 10_000 } as const;

registerInputLogContract('classic-level', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-input-'));
  let nowMs = 0;
  return {
    open: async () => {
      const { store, input } = await openServerFolder(folder, {
        hash,
        clock: { nowMs: () => nowMs },
      });
      return {
        ...input,
        close: async () => {
          await input.close();
          await store.close();
        },
      };
    },
    setClock: (next) => {
      nowMs = next;
    },
    dispose: () => rm(folder, { recursive: true }),
  };
});

registerInputLogContract('memory-level', () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  let nowMs = 0;
  let bytes: Uint8Array | undefined;
  const marker = {
    read: () => Promise.resolve(bytes),
    write: (next: Uint8Array) => {
      bytes = next;
      return Promise.resolve();
    },
  };
  return Promise.resolve({
    open: () => openInputLog({ database, marker, hash, clock: { nowMs: () => nowMs } }),
    setClock: (next: number) => {
      nowMs = next;
    },
    dispose: () => Promise.resolve(),
  });
});

it('[STO-71] reads the end anew after a failed append, so that no number is given twice', async () => {
  const database = new MemoryLevel<Uint8Array, Uint8Array>({
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  const marker = { read: () => Promise.resolve(undefined), write: () => Promise.resolve() };
  const input = await openInputLog({ database, marker, hash, clock });
  await input.append([Uint8Array.of(1)]);
  const refuse = (stored: boolean): void => {
    const batch = database.batch.bind(database);
    Object.defineProperty(database, 'batch', {
      configurable: true,
      value: () => {
        const chained = batch();
        const write = chained.write.bind(chained);
        chained.write = async () => {
          if (stored) await write();
          else await chained.close();
          throw new Error('the device failed');
        };
        return chained;
      },
    });
  };
  refuse(true);
  const calls = [input.append([Uint8Array.of(2)]), input.append([Uint8Array.of(3)])];
  for (const call of await Promise.allSettled(calls)) expect(call.status).toBe('rejected');
  Reflect.deleteProperty(database, 'batch');
  refuse(false);
  await expect(input.append([Uint8Array.of(9)])).rejects.toMatchObject({
    code: 'storage-unavailable',
  });
  Reflect.deleteProperty(database, 'batch');
  const [position] = positionsOf(await input.append([Uint8Array.of(4)]));
  const read = await input.read({ generation: 1, seq: 0 }, wide);
  // The first of the two failed calls was stored alone; what was refused left no gap.
  expect(read.map(({ bytes }) => bytes[0])).toEqual([1, 2, 4]);
  expect(position).toEqual({ generation: 1, seq: 3 });
  expect(await input.extent()).toEqual({ generation: 1, first: 1, last: 3 });
  await input.close();
});

const messages = 400;
const messageBytes = 300;
const message = (seq: number): Uint8Array => new Uint8Array(messageBytes).fill(seq & 255);

/** Reads on behind every hole, as a person would who examines the damage. */
const readOverHoles = async (input: InputLog): Promise<readonly number[]> => {
  const { last } = await input.extent();
  const found: number[] = [];
  for (let seq = 1; seq <= last; seq += 1)
    if ((await input.hashAt({ generation: 1, seq })) !== undefined) found.push(seq);
  return found;
};

describe('damage to the files of an input log', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-damage-'));
    const { input, close } = await openServerFolder(folder, { hash, clock });
    for (let seq = 1; seq <= messages; seq += 1) await input.append([message(seq)]);
    await close();
  });
  afterEach(() => rm(folder, { recursive: true }));

  const logFile = async (): Promise<string> => {
    const names = (await readdir(join(folder, 'input'))).filter((name) => name.endsWith('.log'));
    expect(names).toHaveLength(1);
    return join(folder, 'input', names[0] as string);
  };
  const flipBit = async (path: string, at: number): Promise<void> => {
    const file = await open(path, 'r+');
    try {
      const byte = new Uint8Array(1);
      await file.read(byte, 0, 1, at);
      byte[0] = (byte[0] as number) ^ 16;
      await file.write(byte, 0, 1, at);
    } finally {
      await file.close();
    }
  };

  it('[STO-77] tells a hole in the middle with its range and count, and reads never pass it', async () => {
    const path = await logFile();
    await flipBit(path, Math.floor((await stat(path)).size / 2));
    const { input, close } = await openServerFolder(folder, { hash, clock });
    try {
      expect(await input.extent()).toEqual({ generation: 1, first: 1, last: messages });
      const found = await readOverHoles(input);
      const missing = messages - found.length;
      expect(missing).toBeGreaterThan(0);
      expect(input.damage).toHaveLength(1);
      expect(input.damage[0]).toMatchObject({ kind: 'log-hole', count: missing });
      let holeFrom = 1;
      while (found.includes(holeFrom)) holeFrom += 1;
      expect(input.damage[0]?.where).toContain(`messages ${holeFrom}..`);
      const before = await input.read({ generation: 1, seq: 0 }, wide);
      expect(before).toHaveLength(holeFrom - 1);
      await expect(input.read({ generation: 1, seq: holeFrom - 1 }, wide)).rejects.toMatchObject({
        code: 'storage-damaged',
        details: { generation: 1, first: holeFrom },
      });
      await input.startGeneration({ generation: 1, last: messages }, message(0));
      await close();
      const again = await openServerFolder(folder, { hash, clock });
      expect(again.input.damage).toEqual([]);
      await again.close();
    } finally {
      await close().catch(() => undefined);
    }
  });

  it('[STO-78] tells a lost tail, keeps an exact prefix and goes on behind it', async () => {
    const path = await logFile();
    await truncate(path, Math.floor((await stat(path)).size * 0.75));
    const { input, close } = await openServerFolder(folder, { hash, clock });
    try {
      const { last } = await input.extent();
      expect(last).toBeGreaterThan(0);
      expect(last).toBeLessThan(messages);
      expect(input.damage).toHaveLength(1);
      expect(input.damage[0]).toMatchObject({ kind: 'log-tail', count: messages - last });
      const read = await input.read({ generation: 1, seq: 0 }, wide);
      expect(read.map(({ position }) => position.seq)).toEqual(
        Array.from({ length: last }, (_, i) => i + 1),
      );
      for (const { position, bytes } of read)
        expect(hash(bytes)).toEqual(hash(message(position.seq)));
      expect(await input.hashAt({ generation: 1, seq: messages })).toBeUndefined();
      expect(positionsOf(await input.append([message(1)]))).toEqual([
        { generation: 1, seq: last + 1 },
      ]);
    } finally {
      await close();
    }
  });

  it('[STO-79] refuses a database without CURRENT and touches nothing', async () => {
    await rm(join(folder, 'input', 'CURRENT'));
    const before = await readdir(join(folder, 'input'));
    await expect(openServerFolder(folder, { hash, clock })).rejects.toMatchObject({
      code: 'storage-damaged',
    });
    expect(await readdir(join(folder, 'input'))).toEqual(before);
  });

  it('[STO-79] refuses an input whose files are gone', async () => {
    await rm(join(folder, 'input'), { recursive: true });
    await expect(openServerFolder(folder, { hash, clock })).rejects.toMatchObject({
      code: 'store-missing',
    });
    expect(await readdir(folder)).not.toContain('input');
  });

  it('[STO-80] sets a lost input aside when told to, and says so', async () => {
    await rm(join(folder, 'input', 'CURRENT'));
    const before = await readdir(join(folder, 'input'));
    const options = { hash, clock, lostInput: 'set-aside' } as const;
    const { input, close } = await openServerFolder(folder, options);
    try {
      expect(await readdir(join(folder, 'input.damaged-1'))).toEqual(before);
      expect(input.damage).toEqual([
        {
          kind: 'log-hole',
          where: 'storage-damaged: begun anew; set aside as input.damaged-1',
          count: 1,
        },
      ]);
      expect(await input.extent()).toEqual({ generation: 1, first: 1, last: 0 });
    } finally {
      await close();
    }
    const again = await openServerFolder(folder, { hash, clock });
    expect(again.input.damage).toEqual([]);
    await again.close();
  });

  it('[STO-77] repairs a database without MANIFEST, looks at every message and tells the repair', async () => {
    const names = await readdir(join(folder, 'input'));
    for (const name of names)
      if (name.startsWith('MANIFEST')) await rm(join(folder, 'input', name));
    const { input, close } = await openServerFolder(folder, { hash, clock });
    try {
      expect(input.damage[0]).toMatchObject({ kind: 'log-hole', count: 1 });
      expect(input.damage[0]?.where).toContain('repaired');
      expect(await readOverHoles(input)).toHaveLength(messages);
    } finally {
      await close();
    }
  });
});
