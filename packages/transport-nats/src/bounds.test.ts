import { describe, expect, it } from 'vitest';
import { ByteWindow } from './byte-window.js';
import { refusalFailure, refusalOf } from './failure.js';
import { SpaceAlarm, type InputSpace } from './space-alarm.js';

describe('bounds', () => {
  it('[NAT-47] a window lets work in by its bytes, in order, and a single one always', async () => {
    const window = new ByteWindow(100);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const run = (bytes: number) =>
      window.run(bytes, () => {
        begun.push(bytes);
        return new Promise<void>((resolve) => ends.push(resolve));
      });
    const settle = async (): Promise<void> => {
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    };
    const all = [run(60), run(50), run(30), run(500)];
    await settle();
    expect(begun).toEqual([60]);
    ends[0]?.();
    await settle();
    expect(begun).toEqual([60, 50, 30]);
    expect(window.bytes).toBe(80);
    ends[1]?.();
    ends[2]?.();
    await settle();
    expect(begun).toEqual([60, 50, 30, 500]);
    ends[3]?.();
    await Promise.all(all);
    expect(window.bytes).toBe(0);
  });

  it('[NAT-47] a window goes on behind work that failed', async () => {
    const window = new ByteWindow(10);
    const failing = window.run(10, () => Promise.reject(new Error('no')));
    const next = window.run(10, () => Promise.resolve('yes'));
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe('yes');
    expect(window.bytes).toBe(0);
  });

  it('[NAT-9] an alarm is raised once per share, and ends 5% below it', () => {
    const told: InputSpace['alarm'][] = [];
    const alarm = new SpaceAlarm(({ alarm: share }) => told.push(share));
    for (const bytes of [10, 69, 70, 69, 66, 75, 90, 89, 86, 84, 66, 64, 10, 95])
      alarm.note(bytes, 100);
    expect(told).toEqual([70, 90, 70, 0, 90]);
    alarm.note(10 ** 12, -1);
    expect(told.at(-1)).toBe(0);
  });

  it('[NAT-48] each refusal of a stream has its failure; what is unknown is tried again', () => {
    expect(refusalOf(10_077, 'maximum bytes exceeded')).toBe('full');
    expect(refusalOf(10_077, 'cannot write')).toBe('unknown');
    expect(refusalOf(10_109, 'sealed')).toBe('other-generation');
    expect(refusalOf(10_071, 'wrong last sequence: 3')).toBe('wrong-sequence');
    expect(refusalOf(10_059, 'stream not found')).toBe('missing');
    expect(refusalOf(1, '')).toBe('unknown');
    expect(refusalFailure('full', 10_077)).toMatchObject({
      code: 'input-full',
      recovery: 'retry-later',
    });
    expect(refusalFailure('unknown', 1)).toMatchObject({ code: 'unreachable' });
  });
});
