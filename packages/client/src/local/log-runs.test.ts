import { describe, expect, test } from 'vitest';
import { logRuns, runOfIndex } from './log-runs.js';
import { rewrapped } from './log-upkeep.js';
import { initialMeta, type ReplicaMeta } from './replica-meta.js';

const metaOf = (more: Partial<ReplicaMeta>): ReplicaMeta => ({
  ...initialMeta({ tenant: 't', user: 'u', replica: 'c', provisional: 'p' }),
  ...more,
});

describe('parts of the log of a clone', () => {
  test("[ERR-69] what is shared counts as the origin's, epoch by epoch, the rest as its own", () => {
    const meta = metaOf({
      epochStarts: [
        [1, 1],
        [2, 5],
        [1, 9],
      ],
      origins: [{ replica: 'a', lastIndex: 8 }],
    });
    expect(logRuns(meta)).toEqual([
      { replica: 'a', epoch: 1, from: 1, to: 4 },
      { replica: 'a', epoch: 2, from: 5, to: 8 },
      { replica: 'c', epoch: 1, from: 9, to: Infinity },
    ]);
    expect(runOfIndex(meta, 8)).toMatchObject({ replica: 'a', epoch: 2 });
    expect(runOfIndex(meta, 9)).toMatchObject({ replica: 'c', epoch: 1 });
  });

  test('[ERR-69] a clone of a clone that shares less keeps no more of the first origin', () => {
    const meta = metaOf({
      epochStarts: [
        [1, 1],
        [1, 6],
      ],
      origins: [
        { replica: 'a', lastIndex: 8 },
        { replica: 'b', lastIndex: 5 },
      ],
    });
    expect(runOfIndex(meta, 5).replica).toBe('a');
    expect(runOfIndex(meta, 6).replica).toBe('c');
  });

  test('[ERR-69] a new epoch below what was shared is its own from there on', () => {
    const shared = metaOf({
      epochStarts: [
        [1, 1],
        [1, 9],
      ],
      origins: [{ replica: 'a', lastIndex: 8 }],
    });
    const meta = rewrapped(shared, { epoch: 2, provisional: 'q', granted: true, above: 5 });
    expect(logRuns(meta)).toEqual([
      { replica: 'a', epoch: 1, from: 1, to: 5 },
      { replica: 'c', epoch: 2, from: 6, to: Infinity },
    ]);
  });
});
