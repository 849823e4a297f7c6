import { describe, expect, test } from 'vitest';
import {
  LinkSpeed,
  packedPagesMax,
  pagesUnderWayMax,
  slowLinkBytes,
  slowRoundTripMs,
  tellingBytesMin,
  underWayMs,
} from './link-speed.js';

const page = 512 * 1024;

/** A link on which pages come one behind the other, each after `ms`. */
const carrying = (bytes: number, ms: number, isPacked = false): LinkSpeed => {
  const speed = new LinkSpeed();
  for (let i = 0; i < 20; i += 1) speed.pageCame(bytes, i * ms, (i + 1) * ms, isPacked);
  return speed;
};

describe('the speed of a link', () => {
  test('[SYN-55] pages are worth packing by the shortest round trip, or by the bytes that the link carries', () => {
    const speed = new LinkSpeed();
    expect(speed.isWorthPacking()).toBe(false);
    speed.answered(slowRoundTripMs);
    expect(speed.isWorthPacking()).toBe(true);
    // One call that was faster: what was slower before was work. A clock that was set back says nothing.
    speed.answered(-5_000);
    expect(speed.isWorthPacking()).toBe(true);
    speed.answered(slowRoundTripMs - 1);
    expect(speed.isWorthPacking()).toBe(false);
    const bytes = slowLinkBytes / 10;
    expect(carrying(bytes * 1.01, 100).isWorthPacking()).toBe(false);
    expect(carrying(bytes * 0.99, 100).isWorthPacking()).toBe(true);
    expect(carrying(tellingBytesMin - 1, 100).isWorthPacking()).toBe(false);
    // Packing takes its time: how fast packed pages come says nothing.
    expect(carrying(bytes * 0.99, 100, true).isWorthPacking()).toBe(false);
  });

  test('[SYN-55] where round trips are short, one page of 64 tells whether the link is slow still', () => {
    const speed = carrying(100_000, 100);
    const asked = Array.from({ length: 2 * packedPagesMax }, () => speed.isWorthPacking());
    expect(asked.filter((isPacked) => !isPacked)).toHaveLength(2);
    // Those that came as they are came fast: the machine was busy before.
    for (let i = 0; i < 8; i += 1) speed.pageCame(page, 9_000 + i * 10, 9_010 + i * 10, false);
    expect(speed.isWorthPacking()).toBe(false);
    const far = new LinkSpeed();
    far.answered(slowRoundTripMs);
    for (let i = 0; i < 2 * packedPagesMax; i += 1) expect(far.isWorthPacking()).toBe(true);
  });

  test('[SYN-54] so many pages are asked for as come within two seconds, at least one and at most eight', () => {
    expect(new LinkSpeed().pagesUnderWay()).toBe(1);
    for (const [ms, pages] of [
      [1, pagesUnderWayMax],
      [100, pagesUnderWayMax],
      [underWayMs / 4, 4],
      [underWayMs / 2, 2],
      [underWayMs, 1],
      [30_000, 1],
    ] as const)
      for (const isPacked of [true, false])
        expect([ms, carrying(page, ms, isPacked).pagesUnderWay()]).toEqual([ms, pages]);
  });

  test('[SYN-54] pages that wait for each other are told for their own time only', () => {
    const speed = new LinkSpeed();
    // All were asked for at once; one comes each 400 ms.
    for (let i = 1; i <= 16; i += 1) speed.pageCame(page, 0, i * 400, false);
    expect(speed.pagesUnderWay()).toBe(5);
  });

  test('[SYN-54] short pages say little of how many full ones may be under way', () => {
    const bytesPerSecond = 50_000;
    const bytes = 6_000;
    const ms = (bytes * 1_000) / bytesPerSecond;
    const speed = new LinkSpeed();
    for (let i = 0; i < 12; i += 1)
      speed.pageCame(bytes, i * ms, (i + 1) * ms, false, bytes / page);
    expect(speed.pagesUnderWay()).toBe(1);
  });

  test('[SYN-54] a link that became faster is known by its next pages; another link begins anew', () => {
    const speed = carrying(page, 1_000);
    expect(speed.pagesUnderWay()).toBe(2);
    for (let i = 0; i < 16; i += 1) speed.pageCame(page, 50_000 + i * 10, 50_010 + i * 10, false);
    expect(speed.pagesUnderWay()).toBe(pagesUnderWayMax);
    speed.answered(slowRoundTripMs);
    speed.opened();
    expect(speed.pagesUnderWay()).toBe(1);
    expect(speed.isWorthPacking()).toBe(false);
  });

  test('[SYN-54] a clock that is set back or forth leads to no more pages than eight and no fewer than one', () => {
    const speed = carrying(page, 100);
    speed.pageCame(page, 1_000_000, 5, false);
    expect(speed.pagesUnderWay()).toBe(pagesUnderWayMax);
    speed.pageCame(page, 5, 10_000_000, false);
    expect(speed.pagesUnderWay()).toBe(1);
    speed.pageCame(page, 5, 6, false);
    for (let i = 0; i < 40; i += 1) speed.pageCame(page, 10 + i, 11 + i, false);
    expect(speed.pagesUnderWay()).toBe(pagesUnderWayMax);
  });
});
