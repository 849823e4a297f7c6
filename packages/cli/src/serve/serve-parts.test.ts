import { describe, expect, test } from 'vitest';
import { Output } from '../output.js';
import { httpAddressOf } from './http-server.js';
import { LastRuns, pendingSeries, replicaRunsMax, replicaSeriesMax } from './replica-series.js';
import { logLinesPerSecondMax, ServerLog } from './server-log.js';

describe('address of health and metrics', () => {
  test('[CLI-64] a port alone is of the loopback; what is no address is refused', () => {
    expect(httpAddressOf('9465')).toEqual({ host: '127.0.0.1', port: 9465 });
    expect(httpAddressOf(':9465')).toEqual({ host: '127.0.0.1', port: 9465 });
    expect(httpAddressOf('0.0.0.0:80')).toEqual({ host: '0.0.0.0', port: 80 });
    expect(httpAddressOf('[::1]:80')).toEqual({ host: '::1', port: 80 });
    expect(httpAddressOf('off')).toBeUndefined();
    for (const text of ['', 'localhost', 'a:b', '1:2:3', '127.0.0.1:70000', 'http://a:1'])
      expect(() => httpAddressOf(text), text).toThrow('--http is an address');
  });
});

describe('pending operations by replica', () => {
  test('[CLI-65] beyond the bound replicas are summed by tenant, the smallest first', () => {
    const runs = new Map([
      ['a', new LastRuns()],
      ['b', new LastRuns()],
    ]);
    const replicas = replicaSeriesMax + 20;
    for (let k = 0; k < replicas; k += 1)
      runs.get(k % 2 === 0 ? 'a' : 'b')?.note({ replica: `r${k}`, pending: k, endedOnMs: k });
    const series = pendingSeries(runs);
    expect(series).toHaveLength(replicaSeriesMax + 2);
    const sum = (all: readonly { readonly pending: number }[]): number =>
      all.reduce((total, { pending }) => total + pending, 0);
    expect(sum(series)).toBe((replicas * (replicas - 1)) / 2);
    expect(series.filter(({ replica }) => replica === 'other')).toEqual(
      expect.arrayContaining([
        { tenant: 'a', replica: 'other', pending: 90 },
        { tenant: 'b', replica: 'other', pending: 100 },
      ]),
    );
  });

  test('[CLI-65] the newest run of a replica counts, and the oldest replicas are forgotten', () => {
    const runs = new LastRuns();
    runs.note({ replica: 'r', pending: 3, endedOnMs: 20 });
    runs.note({ replica: 'r', pending: 9, endedOnMs: 10 });
    expect(runs.all()).toEqual([{ replica: 'r', pending: 3, endedOnMs: 20 }]);
    for (let k = 0; k < replicaRunsMax; k += 1)
      runs.note({ replica: `s${k}`, pending: 0, endedOnMs: 30 });
    expect(runs.all()).toHaveLength(replicaRunsMax);
    expect(runs.all().some(({ replica }) => replica === 'r')).toBe(false);
  });
});

describe('log of a server', () => {
  test('[CLI-66] lines beyond the bound of a second are counted, and the count is told', () => {
    const lines: string[] = [];
    const sink = { write: (text: string) => lines.push(text) > 0 };
    const output = new Output({ out: sink, err: sink, json: true, noColour: true });
    let nowMs = 5_000;
    const log = new ServerLog(output, false, () => nowMs);
    const over = 30;
    for (let k = 0; k < logLinesPerSecondMax + over; k += 1) log.tell('info', 'tick', { k });
    expect(lines).toHaveLength(logLinesPerSecondMax);
    nowMs = 6_000;
    log.tell('info', 'tick', { k: 'last' });
    expect(lines.slice(logLinesPerSecondMax).map((line) => JSON.parse(line) as object)).toEqual([
      { time: '1970-01-01T00:00:06.000Z', level: 'warn', event: 'lines-left-out', count: over },
      { time: '1970-01-01T00:00:06.000Z', level: 'info', event: 'tick', k: 'last' },
    ]);
  });
});
