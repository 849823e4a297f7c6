import { errorCatalogue, type ErrorCode, type Recovery } from '@tidemark/model';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  advanceRun,
  endPhases,
  receiptWaitMs,
  runAttemptsMax,
  runRepairsMax,
  startRun,
  type SyncPhase,
  type SyncRunEvent,
  type SyncRunState,
} from './sync-run.js';

/** One event of each kind; failures by their recovery. */
const events = {
  linked: { type: 'linked' },
  agreed: { type: 'agreed' },
  uploaded: { type: 'uploaded', operations: 3 },
  receipt: { type: 'receipt', complete: true },
  customized: { type: 'customized', waits: false },
  page: { type: 'page' },
  rehydrate: { type: 'rehydrate' },
  downloaded: { type: 'downloaded' },
  repaired: { type: 'repaired' },
  cleaned: { type: 'cleaned' },
  logged: { type: 'logged' },
  slept: { type: 'slept' },
  abort: { type: 'abort' },
  retryLater: { type: 'failure', code: 'unreachable', recovery: 'retry-later' },
  rehydration: { type: 'failure', code: 'invalid-cursor', recovery: 'rehydrate' },
  upgrade: { type: 'failure', code: 'newer-protocol', recovery: 'upgrade' },
  askUser: { type: 'failure', code: 'wrong-tenant', recovery: 'ask-user' },
  askOperator: { type: 'failure', code: 'storage-damaged', recovery: 'ask-operator' },
  quarantine: { type: 'failure', code: 'malformed-message', recovery: 'quarantine' },
  split: { type: 'failure', code: 'transaction-too-large', recovery: 'split' },
  rebase: { type: 'failure', code: 'behind', recovery: 'rebase' },
} as const satisfies Readonly<Record<string, SyncRunEvent>>;
type EventName = keyof typeof events;
type Step = `${SyncPhase} ${string}` | 'same';

const same: Readonly<Record<EventName, Step>> = {
  linked: 'same',
  agreed: 'same',
  uploaded: 'same',
  receipt: 'same',
  customized: 'same',
  page: 'same',
  rehydrate: 'same',
  downloaded: 'same',
  repaired: 'same',
  cleaned: 'same',
  logged: 'same',
  slept: 'same',
  abort: 'same',
  retryLater: 'same',
  rehydration: 'same',
  upgrade: 'same',
  askUser: 'same',
  askOperator: 'same',
  quarantine: 'same',
  split: 'same',
  rebase: 'same',
};

/** What every working phase does with a failure or an abort: "phase command result error". */
const working: Readonly<Record<EventName, Step>> = {
  ...same,
  abort: 'logging log cancelled aborted',
  retryLater: 'backing-off sleep',
  rehydration: 'logging log failed invalid-cursor',
  upgrade: 'logging log blocked newer-protocol',
  askUser: 'logging log blocked wrong-tenant',
  askOperator: 'logging log blocked storage-damaged',
  quarantine: 'logging log failed malformed-message',
  split: 'logging log failed transaction-too-large',
  rebase: 'logging log failed behind',
};
/** While logging, the run ends whatever comes, except that it cannot be aborted any more. */
const logging: Readonly<Record<EventName, Step>> = {
  ...same,
  logged: 'settled -',
  retryLater: 'settled -',
  rehydration: 'settled -',
  upgrade: 'settled -',
  askUser: 'settled -',
  askOperator: 'settled -',
  quarantine: 'settled -',
  split: 'settled -',
  rebase: 'settled -',
};

const table: Readonly<Record<SyncPhase, Readonly<Record<EventName, Step>>>> = {
  connecting: { ...working, linked: 'authenticating agree-on-log' },
  authenticating: { ...working, agreed: 'uploading upload' },
  uploading: { ...working, uploaded: 'awaiting-receipt await-receipt' },
  'awaiting-receipt': { ...working, receipt: 'customizing customize' },
  customizing: { ...working, customized: 'downloading pull' },
  downloading: {
    ...working,
    page: 'downloading pull',
    rehydrate: 'repairing repair',
    rehydration: 'repairing repair',
    downloaded: 'cleaning-up clean-up',
  },
  repairing: { ...working, repaired: 'downloading pull' },
  'cleaning-up': { ...working, cleaned: 'logging log synced' },
  logging,
  'backing-off': { ...working, slept: 'connecting open-link' },
  settled: same,
  blocked: same,
  failed: same,
  cancelled: same,
};
const phases = Object.keys(table) as SyncPhase[];
const names = Object.keys(events) as EventName[];
const fresh = startRun('foreground').state;

describe('[SYN-90] the transition table', () => {
  test.each(phases.flatMap((phase) => names.map((name) => [phase, name] as const)))(
    '%s, %s',
    (phase, name) => {
      const before: SyncRunState = { ...fresh, phase };
      const { state, command } = advanceRun(before, events[name]);
      const expected = table[phase][name];
      if (expected === 'same') {
        expect(state).toEqual(before);
        expect(command).toBeNull();
        return;
      }
      const parts = [state.phase, command?.type ?? '-', state.result, state.error];
      expect(parts.filter((part) => part !== null).join(' ')).toBe(expected);
    },
  );
});

/** Follows events from the start of a run. */
const follow = (
  mode: 'foreground' | 'background',
  ...list: readonly SyncRunEvent[]
): SyncRunState =>
  list.reduce((state, event) => advanceRun(state, event).state, startRun(mode).state);
const toDownload: readonly SyncRunEvent[] = [
  events.linked,
  events.agreed,
  events.uploaded,
  events.receipt,
  events.customized,
];

test('[SYN-91] a good run uploads first, then downloads, and ends synced', () => {
  const seen: string[] = ['open-link'];
  const end = [...toDownload, events.page, events.downloaded, events.cleaned, events.logged].reduce(
    (state, event) => {
      const step = advanceRun(state, event);
      if (step.command !== null) seen.push(step.command.type);
      return step.state;
    },
    startRun('foreground').state,
  );
  expect(seen).toEqual([
    ...['open-link', 'agree-on-log', 'upload', 'await-receipt', 'customize', 'pull', 'pull'],
    ...['clean-up', 'log'],
  ]);
  expect(end).toMatchObject({ phase: 'settled', result: 'synced', error: null });
});

test('[SYN-92] synced is said only if a receipt covers what was uploaded', () => {
  const late: readonly SyncRunEvent[] = [
    ...[events.linked, events.agreed, events.uploaded],
    { type: 'receipt', complete: false },
    ...[events.customized, events.downloaded, events.cleaned, events.logged],
  ];
  expect(follow('foreground', ...late)).toMatchObject({ phase: 'settled', result: 'pending' });
});

test('[SYN-92] a background run does not wait for a receipt', () => {
  const uploading = (mode: 'foreground' | 'background') =>
    advanceRun(follow(mode, events.linked, events.agreed), events.uploaded).command;
  expect(uploading('foreground')).toEqual({ type: 'await-receipt', timeoutMs: receiptWaitMs });
  expect(uploading('background')).toEqual({ type: 'await-receipt', timeoutMs: 0 });
});

test('[SYN-93] a run fails after its last attempt; a page counts the attempts anew', () => {
  const attempt = [events.retryLater, events.slept];
  const before = Array.from({ length: runAttemptsMax - 1 }, () => attempt).flat();
  expect(follow('foreground', ...before).phase).toBe('connecting');
  expect(follow('foreground', ...before, events.retryLater)).toMatchObject({
    ...{ phase: 'logging', result: 'failed', error: 'unreachable', attempt: runAttemptsMax },
  });
  const moved = [...before, ...toDownload, events.page];
  expect(follow('foreground', ...moved)).toMatchObject({ phase: 'downloading', attempt: 0 });
  expect(follow('foreground', ...moved, events.retryLater).phase).toBe('backing-off');
});

test('[SYN-94] a run repairs a bounded number of times', () => {
  const asks = [events.rehydrate, events.repaired];
  const before = [...toDownload, ...Array.from({ length: runRepairsMax }, () => asks).flat()];
  expect(follow('foreground', ...before)).toMatchObject({
    ...{ phase: 'downloading', repairs: runRepairsMax },
  });
  for (const again of [events.rehydrate, events.rehydration])
    expect(follow('foreground', ...before, events.page, again)).toMatchObject({
      ...{ phase: 'logging', result: 'failed', error: 'invalid-cursor' },
    });
});

test('[SYN-95] a failure while logging does not change the result', () => {
  const done = follow('foreground', ...toDownload, events.downloaded, events.cleaned);
  expect(advanceRun(done, events.retryLater).state).toMatchObject({
    ...{ phase: 'settled', result: 'synced', error: null },
  });
  for (const [event, phase] of [
    [events.abort, 'cancelled'],
    [events.askUser, 'blocked'],
    [events.quarantine, 'failed'],
  ] as const)
    expect(follow('foreground', event, events.upgrade).phase).toBe(phase);
});

const anyFailure: fc.Arbitrary<SyncRunEvent> = fc
  .constantFrom(...(Object.keys(errorCatalogue) as ErrorCode[]))
  .map((code): SyncRunEvent => {
    const recovery: Recovery = errorCatalogue[code].recovery;
    return { type: 'failure', code, recovery };
  });
const anyEvent: fc.Arbitrary<SyncRunEvent> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...names.slice(0, 12).map((name) => events[name])) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('receipt'), complete: fc.boolean() }) },
  { weight: 1, arbitrary: anyFailure },
);

/** Events that belong to a phase: what a driver reports there. */
const answersOf = (phase: SyncPhase): readonly SyncRunEvent[] =>
  names.filter((name) => table[phase][name] !== 'same').map((name) => events[name]);

describe('[SYN-96] random walks', () => {
  test('at every step the state is consistent, and an end is for good', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('foreground' as const, 'background' as const),
        fc.array(anyEvent, { maxLength: 200 }),
        (mode, list) => {
          let state = startRun(mode).state;
          for (const event of list) {
            const step = advanceRun(state, event);
            if (endPhases.includes(state.phase)) expect(step).toEqual({ state, command: null });
            const ended = endPhases.includes(step.state.phase) || step.state.phase === 'logging';
            expect(step.state.result !== null).toBe(ended);
            if (step.state.phase !== state.phase && !endPhases.includes(step.state.phase))
              expect(step.command).not.toBeNull();
            if (step.state.result === 'failed' || step.state.result === 'blocked')
              expect(step.state.error).not.toBeNull();
            if (step.state.result === 'synced') expect(step.state.unconfirmed).toBe(false);
            expect(step.state.attempt).toBeLessThanOrEqual(runAttemptsMax);
            expect(step.state.repairs).toBeLessThanOrEqual(runRepairsMax);
            expect(step.state.mode).toBe(mode);
            state = step.state;
          }
        },
      ),
    );
  });

  test('whatever the driver reports, a run ends after a bounded number of steps without a page', () => {
    // Attempts, each with all phases and all repairs, then the log.
    const stepsMax = runAttemptsMax * (endPhases.length + 10 + 2 * runRepairsMax) + 2;
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat()), (choices) => {
        let state = startRun('foreground').state;
        let steps = 0;
        while (!endPhases.includes(state.phase)) {
          const answers = answersOf(state.phase).filter((event) => event.type !== 'page');
          const pick = (choices.next().value ?? 0) % answers.length;
          state = advanceRun(state, answers[pick] ?? events.abort).state;
          steps += 1;
          expect(steps).toBeLessThanOrEqual(stepsMax);
        }
      }),
    );
  });

  test('an abort ends a run in two steps from anywhere', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 50 }), (list) => {
        const state = follow('foreground', ...list, events.abort, events.logged);
        expect(endPhases).toContain(state.phase);
      }),
    );
  });
});
