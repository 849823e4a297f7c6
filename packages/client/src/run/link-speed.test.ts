import { describe, expect, test } from 'vitest';
import {
  LinkSpeed,
  pagesUnderWayMax,
  slowLinkBytes,
  slowRoundTripMs,
  tellingBytesMin,
  underWayMs,
} from './link-speed.js';

const page = 512 * 1024;

/** A link on which pages come one behind the other, each after `ms`. */
const carrying = (bytes: number, ms: number, pages = 20): LinkSpeed => {
  const speed = new LinkSpeed();
  for (let i = 0; i < pages; i += 1) speed.answered(bytes, i * ms, (i + 1) * ms);
  return speed;
};

describe('the speed of a link', () => {
  test('[SYN-55] a link is slow by its shortest round trip, or by the bytes that it carries', () => {
    const speed = new LinkSpeed();
    expect(speed.isSlow()).toBe(false);
    speed.answered(100, 0, slowRoundTripMs);
    expect(speed.isSlow()).toBe(true);
    // One call that was faster: what was slower before was work.
    speed.answered(100, 500, 500 + slowRoundTripMs - 1);
    expect(speed.isSlow()).toBe(false);
    // 512 KB in 15 ms, and in 35 ms: more and less than 8 MB/s.
    expect(carrying(page, 15).isSlow()).toBe(false);
    expect(carrying(page, slowRoundTripMs - 5, 5).isSlow()).toBe(
      (page * 1_000) / (slowRoundTripMs - 5) < slowLinkBytes,
    );
    expect(carrying(page, 66).isSlow()).toBe(true);
    expect(carrying(tellingBytesMin - 1, 30).isSlow()).toBe(false);
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
      expect([ms, carrying(page, ms).pagesUnderWay()]).toEqual([ms, pages]);
  });

  test('[SYN-54] answers that wait for each other are told for their own time only', () => {
    const speed = new LinkSpeed();
    // Eight were asked for at once; one comes each 400 ms.
    for (let i = 1; i <= 16; i += 1) speed.answered(page, 0, i * 400);
    expect(speed.pagesUnderWay()).toBe(5);
  });

  test('[SYN-54] a link that became faster or slower is known by its next pages; another link begins anew', () => {
    const speed = carrying(page, 1_000);
    expect(speed.pagesUnderWay()).toBe(2);
    for (let i = 0; i < 16; i += 1) speed.answered(page, 50_000 + i * 10, 50_010 + i * 10);
    expect(speed.pagesUnderWay()).toBe(pagesUnderWayMax);
    speed.opened();
    expect(speed.pagesUnderWay()).toBe(1);
    expect(speed.isSlow()).toBe(false);
  });

  test('[SYN-54] a clock that is set back or forth leads to no more pages than eight and no fewer than one', () => {
    const speed = carrying(page, 100);
    speed.answered(page, 1_000_000, 5);
    expect(speed.pagesUnderWay()).toBe(pagesUnderWayMax);
    speed.answered(page, 5, 10_000_000);
    expect(speed.pagesUnderWay()).toBe(1);
    speed.answered(page, 5, 6);
    for (let i = 0; i < 40; i += 1) speed.answered(page, 10 + i, 11 + i);
    expect(speed.pagesUnderWay()).toBe(pagesUnderWayMax);
  });
});
