import { createHash } from 'node:crypto';
import { toHex, utf8Decode, utf8Encode } from '@tidemark/model';
import type { AppendOutcome, InputLog, InputMessage, InputPosition } from '@tidemark/ports';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** One input log under test, which can be closed and opened again on the same data. */
export interface InputLogHarness {
  /** Opens the log; at most one is open at a time. */
  readonly open: () => Promise<InputLog>;
  /** Sets the clock (ms) that gives messages their time; absent where the storage has its own. */
  readonly setClock?: (nowMs: number) => void;
  /** Removes what the harness made. The log is closed. */
  readonly dispose: () => Promise<void>;
}

const start: InputPosition = { generation: 1, seq: 0 };
const wide = { maxBytes: 1_000_000, maxMessages: 10_000 } as const;
const print = ({ position, bytes }: InputMessage): string =>
  `${position.generation}/${position.seq} ${utf8Decode(bytes)}`;
const bytesOf = (...texts: readonly string[]): readonly Uint8Array[] => texts.map(utf8Encode);

/** Positions of the messages of an append that all are stored; throws the failure of the first that is not. */
export const positionsOf = (outcomes: readonly AppendOutcome[]): readonly InputPosition[] =>
  outcomes.map((outcome) => {
    if (outcome.tag !== 'stored') throw outcome.error;
    return outcome.position;
  });

/** Registers the rules that every InputLog keeps. */
export const registerInputLogContract = (
  name: string,
  createHarness: () => Promise<InputLogHarness>,
): void => {
  describe(`${name}: InputLog`, () => {
    let harness: InputLogHarness;
    let log: InputLog;
    beforeEach(async () => {
      harness = await createHarness();
      harness.setClock?.(1_000);
      log = await harness.open();
    });
    afterEach(async () => {
      await log.close();
      await harness.dispose();
    });
    const reopen = async (): Promise<void> => {
      await log.close();
      log = await harness.open();
    };
    const append = async (...texts: readonly string[]): Promise<readonly InputPosition[]> =>
      positionsOf(await log.append(bytesOf(...texts)));
    const readAll = async (after: InputPosition = start): Promise<readonly string[]> =>
      (await log.read(after, wide)).map(print);

    it('[STO-70] numbers messages from 1 and keeps them over a reopening', async () => {
      expect(await log.extent()).toEqual({ generation: 1, first: 1, last: 0 });
      expect(await readAll()).toEqual([]);
      expect(await append('a', 'b')).toEqual([
        { generation: 1, seq: 1 },
        { generation: 1, seq: 2 },
      ]);
      expect(await log.append([])).toEqual([]);
      await reopen();
      expect(await append('c')).toEqual([{ generation: 1, seq: 3 }]);
      expect(await readAll()).toEqual(['1/1 a', '1/2 b', '1/3 c']);
      expect(await log.extent()).toEqual({ generation: 1, first: 1, last: 3 });
      expect(log.damage).toEqual([]);
    });

    it('[STO-70] gives times that never go backwards', async () => {
      const times = [1_000, 5_000, 2_000, 5_001];
      for (const now of times) {
        harness.setClock?.(now);
        await append('m');
        await reopen();
      }
      const read = await log.read(start, wide);
      const found = read.map(({ atMs }) => atMs);
      expect(found).toEqual([...found].sort((a, b) => a - b));
      if (harness.setClock !== undefined) expect(found).toEqual([1_000, 5_000, 5_000, 5_001]);
      else expect(found[0]).toBeGreaterThan(1_700_000_000_000);
    });

    it('[STO-71] keeps the order of concurrent calls, each whole', async () => {
      const calls: Promise<readonly InputPosition[]>[] = [];
      for (let i = 0; i < 200; i += 1)
        calls.push(append(...Array.from({ length: (i % 3) + 1 }, (_, k) => `${i}.${k}`)));
      const positions = await Promise.all(calls);
      let seq = 0;
      for (const of of positions) for (const position of of) expect(position.seq).toBe((seq += 1));
      const texts = (await readAll()).map((line) => line.split(' ')[1]);
      expect(texts).toEqual(positions.flatMap((of, i) => of.map((_, k) => `${i}.${k}`)));
    });

    it('[STO-72] reads within its bounds, at least one message', async () => {
      await append('aaaa', 'bb', 'cc', 'dd');
      const read = async (after: number, maxBytes: number, maxMessages: number): Promise<string> =>
        (await log.read({ generation: 1, seq: after }, { maxBytes, maxMessages }))
          .map(({ bytes }) => utf8Decode(bytes))
          .join(' ');
      expect(await read(0, 1, 10)).toBe('aaaa');
      expect(await read(0, 6, 10)).toBe('aaaa bb');
      expect(await read(0, 7, 10)).toBe('aaaa bb');
      expect(await read(1, 100, 2)).toBe('bb cc');
      expect(await read(4, 100, 2)).toBe('');
      expect(await read(9, 100, 2)).toBe('');
      expect((await log.read({ generation: 0, seq: 0 }, wide)).map(print)[0]).toBe('1/1 aaaa');
    });

    it('[STO-73] tells the extent of the current generation, also when nothing of it is kept', async () => {
      const extent = async () => {
        const shown = await log.extent();
        await reopen();
        expect(await log.extent()).toEqual(shown);
        return shown;
      };
      expect(await extent()).toEqual({ generation: 1, first: 1, last: 0 });
      await append('a', 'b', 'c');
      expect(await extent()).toEqual({ generation: 1, first: 1, last: 3 });
      await log.trim({ generation: 1, seq: 1 });
      expect(await extent()).toEqual({ generation: 1, first: 2, last: 3 });
      await log.trim({ generation: 1, seq: 3 });
      expect(await extent()).toEqual({ generation: 1, first: 4, last: 3 });
      await append('d');
      expect(await extent()).toEqual({ generation: 1, first: 4, last: 4 });
      await log.startGeneration({ generation: 1, last: 4 }, utf8Encode('one'));
      expect(await extent()).toEqual({ generation: 2, first: 1, last: 1 });
      await log.trim({ generation: 1, seq: 4 });
      expect(await extent()).toEqual({ generation: 2, first: 1, last: 1 });
      await log.trim({ generation: 2, seq: 1 });
      expect(await extent()).toEqual({ generation: 2, first: 2, last: 1 });
    });

    it('[STO-74] hashes a message: the bytes, unless a read gives another hash of it', async () => {
      await append('a', 'b');
      const hash = await log.hashAt({ generation: 1, seq: 2 });
      const [, read] = await log.read(start, { maxBytes: 1_000, maxMessages: 2 });
      const expected = read?.hash ?? new Uint8Array(createHash('sha256').update('b').digest());
      expect(hash && toHex(hash)).toBe(toHex(expected));
      for (const position of [start, { generation: 1, seq: 3 }, { generation: 2, seq: 1 }])
        expect(await log.hashAt(position)).toBeUndefined();
    });

    it('[STO-75] starts a generation once, and reads across it', async () => {
      await append('a', 'b');
      const tries = await Promise.allSettled([
        log.startGeneration({ generation: 1, last: 2 }, utf8Encode('one')),
        log.startGeneration({ generation: 1, last: 2 }, utf8Encode('two')),
        append('c'),
      ]);
      expect(tries[0]).toMatchObject({ status: 'fulfilled', value: { generation: 2, seq: 1 } });
      expect(tries[1]).toMatchObject({ status: 'rejected', reason: { code: 'behind' } });
      for (const other of [
        { generation: 3, last: 0 },
        { generation: 2, last: 1 },
        { generation: 1, last: 2 },
      ])
        await expect(log.startGeneration(other, utf8Encode('x'))).rejects.toMatchObject({
          code: 'behind',
        });
      const expected = ['1/1 a', '1/2 b', '2/1 one', '2/2 c'];
      expect(await readAll()).toEqual(expected);
      await reopen();
      expect(await readAll()).toEqual(expected);
      expect(await readAll({ generation: 1, seq: 2 })).toEqual(expected.slice(2));
      expect((await log.read(start, { maxBytes: 1_000, maxMessages: 3 })).map(print)).toEqual(
        expected.slice(0, 3),
      );
      expect(await log.extent()).toEqual({ generation: 2, first: 1, last: 2 });
      expect(log.damage).toEqual([]);
    });

    it('[STO-99] tells where generations ended, and nothing of the one that takes messages', async () => {
      const ends = async (): Promise<readonly (number | undefined)[]> =>
        Promise.all([0, 1, 2, 3, 4].map((generation) => log.endOf(generation)));
      expect(await ends()).toEqual([undefined, undefined, undefined, undefined, undefined]);
      await append('a', 'b');
      await log.startGeneration({ generation: 1, last: 2 }, utf8Encode('one'));
      await append('c');
      await log.startGeneration({ generation: 2, last: 2 }, utf8Encode('two'));
      const known = [undefined, 2, 2, undefined, undefined];
      expect(await ends()).toEqual(known);
      await reopen();
      expect(await ends()).toEqual(known);
      await log.trim({ generation: 2, seq: 1 });
      expect((await ends()).slice(2)).toEqual(known.slice(2));
      await reopen();
      expect((await ends()).slice(2)).toEqual(known.slice(2));
    });

    it('[STO-75] starts a generation over an empty one', async () => {
      await log.startGeneration({ generation: 1, last: 0 }, utf8Encode('one'));
      expect(await readAll()).toEqual(['2/1 one']);
    });

    it('[STO-76] trims, and refuses to read what is gone', async () => {
      await append('a', 'b', 'c');
      await log.trim({ generation: 1, seq: 2 });
      await log.trim({ generation: 1, seq: 1 });
      for (let round = 0; round < 2; round += 1) {
        expect(await log.extent()).toEqual({ generation: 1, first: 3, last: 3 });
        expect(await readAll({ generation: 1, seq: 2 })).toEqual(['1/3 c']);
        await expect(readAll()).rejects.toMatchObject({ code: 'storage-damaged' });
        expect(await log.hashAt({ generation: 1, seq: 2 })).toBeUndefined();
        expect(log.damage).toEqual([]);
        await reopen();
      }
      await log.startGeneration({ generation: 1, last: 3 }, utf8Encode('d'));
      await append('e');
      await log.trim({ generation: 2, seq: 1 });
      await reopen();
      expect(await log.extent()).toEqual({ generation: 2, first: 2, last: 2 });
      expect(await readAll({ generation: 2, seq: 1 })).toEqual(['2/2 e']);
      // More than everything leaves the numbers where they are.
      await log.trim({ generation: 9, seq: 9 });
      await reopen();
      expect(await log.extent()).toEqual({ generation: 2, first: 3, last: 2 });
      expect(await append('f')).toEqual([{ generation: 2, seq: 3 }]);
      expect(await readAll({ generation: 2, seq: 2 })).toEqual(['2/3 f']);
      expect(log.damage).toEqual([]);
    });

    it('[STO-72] equals a list for random appends, generations, trims and reopenings', async () => {
      const step = fc.oneof(
        {
          weight: 5,
          arbitrary: fc.integer({ min: 1, max: 5 }).map((count) => ({ append: count })),
        },
        { weight: 1, arbitrary: fc.constant({ generation: true }) },
        { weight: 1, arbitrary: fc.nat(10).map((back) => ({ trim: back })) },
        { weight: 1, arbitrary: fc.constant({ reopen: true }) },
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
          const own = await createHarness();
          let target = await own.open();
          try {
            const model: string[] = [];
            let trimmed = 0;
            const positions: InputPosition[] = [start];
            for (const each of steps) {
              if ('append' in each) {
                const texts = Array.from({ length: each.append }, (_, i) => `m${model.length + i}`);
                positions.push(...positionsOf(await target.append(bytesOf(...texts))));
                model.push(...texts);
              } else if ('generation' in each) {
                const text = `m${model.length}`;
                const extent = await target.extent();
                positions.push(await target.startGeneration(extent, utf8Encode(text)));
                model.push(text);
              } else if ('trim' in each) {
                trimmed = Math.max(trimmed, model.length - each.trim);
                await target.trim(positions[trimmed] as InputPosition);
              } else {
                await target.close();
                target = await own.open();
              }
            }
            expect(target.damage).toEqual([]);
            for (let from = trimmed; from <= model.length; from += 1) {
              const bounds = { maxBytes: 1_000, maxMessages: 4 };
              const read = await target.read(positions[from] as InputPosition, bounds);
              expect(read.map(({ bytes }) => utf8Decode(bytes))).toEqual(
                model.slice(from, from + 4),
              );
              expect(read.map(({ position }) => position)).toEqual(
                positions.slice(from + 1, from + 5),
              );
            }
          } finally {
            await target.close();
            await own.dispose();
          }
        }),
        { numRuns: 25 },
      );
    });
  });
};
