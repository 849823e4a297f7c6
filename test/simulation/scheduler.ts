import type { AbortSignalLike, Clock, Timer } from '@tidemark/ports';
import type { SeededRandom } from '../convergence/seeded-random.js';

/** Events that one seed may take: a seed that needs more is stuck in a loop. */
export const eventsMax = 400_000;

interface ScheduledEvent {
  readonly atMs: number;
  /** Drawn, so that events of one moment come in any order, and in the same one for the same seed. */
  readonly tie: number;
  readonly run: () => void;
  isCancelled: boolean;
  /** Part of what repeats by itself while nothing happens. */
  readonly isBeat: boolean;
}

interface Beat {
  event: ScheduledEvent;
  readonly everyMs: number;
}

/**
 * Rounds of beats that a quiet time begins and ends with. What lies between them would only repeat the
 * same beats, and is left out: an hour in which nothing happens costs no more than half a minute.
 */
const beatRounds = 2;

/** Takes a planned event back. */
export type Cancel = () => void;

const isBefore = (a: ScheduledEvent, b: ScheduledEvent): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);

/**
 * The one clock and the one queue of a simulated world. Time moves from event to event; between two
 * events everything runs that needs no event: the whole world is one thread without a real timer.
 */
export class Scheduler {
  nowMs: number;
  events = 0;
  /** Hash of all events so far: two runs that differ anywhere differ here. */
  traceHash = 0x811c9dc5;
  /** Called after each event, when nothing goes on any more at this moment. */
  afterEvent: () => void = () => undefined;
  readonly #random: SeededRandom;
  readonly #heap: ScheduledEvent[] = [];
  /** Beats that wait for their turn. */
  readonly #beats = new Set<Beat>();
  /** Beats since something else happened. */
  #quietBeats = 0;
  #pumping = false;
  #isFree = false;

  constructor(startMs: number, random: SeededRandom) {
    this.nowMs = startMs;
    this.#random = random;
  }

  /** Runs something `ms` from now. */
  after(ms: number, run: () => void): Cancel {
    return this.#plan(ms, run, false);
  }

  /** Runs `ms` from now what a beat led to: a quiet time stays quiet by it. */
  afterWord(ms: number, run: () => void): Cancel {
    return this.#plan(ms, run, true);
  }

  /** Runs the next beat: in a time in which nothing else happens most beats are left out. */
  afterBeat(everyMs: number, run: () => void): Cancel {
    const beat = { event: this.#event(everyMs, run, true), everyMs };
    this.#beats.add(beat);
    return () => {
      beat.event.isCancelled = true;
      this.#beats.delete(beat);
    };
  }

  #plan(ms: number, run: () => void, isBeat: boolean): Cancel {
    const event = this.#event(ms, run, isBeat);
    this.#push(event);
    if (this.#isFree && !this.#pumping) void this.#pump();
    return () => {
      event.isCancelled = true;
    };
  }

  #event(ms: number, run: () => void, isBeat: boolean): ScheduledEvent {
    const atMs = this.nowMs + Math.max(0, ms);
    return { atMs, tie: this.#random.next(), run, isCancelled: false, isBeat };
  }

  /** Sleeps; never ends by itself when the world stops. */
  readonly sleep: Timer['sleep'] = (ms: number, signal?: AbortSignalLike) =>
    new Promise<void>((resolve) => {
      if (signal?.aborted === true) return resolve();
      const wake = (): void => {
        cancel();
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = this.after(ms, wake);
      signal?.addEventListener('abort', wake);
    });

  /** Clock of somebody whose time is wrong by what `errorMs` says. */
  clock(errorMs: () => number = () => 0): Clock {
    return { nowMs: () => Math.floor(this.nowMs + errorMs()) };
  }

  /** Runs events until `isDone`, checked after each, or until `endMs`; then time is `endMs`. */
  async runUntil(endMs: number, isDone: () => boolean = () => false): Promise<boolean> {
    await settle();
    for (;;) {
      if (isDone()) return true;
      this.#beat(endMs);
      const next = this.#next();
      if (next === undefined || next.atMs > endMs) {
        this.nowMs = Math.max(this.nowMs, endMs);
        return isDone();
      }
      await this.#step();
    }
  }

  /** Waits for a promise while events run. Rejects when it takes longer than `withinMs` of virtual time. */
  async run<A>(what: string, withinMs: number, work: Promise<A>): Promise<A> {
    let isOver = false;
    const end = (): void => {
      isOver = true;
    };
    work.then(end, end);
    if (!(await this.runUntil(this.nowMs + withinMs, () => isOver)))
      throw new Error(`${what} did not end within ${withinMs} virtual ms`);
    return work;
  }

  /** From now on events run by themselves: for suites that know nothing of virtual time. */
  runFreely(): void {
    this.#isFree = true;
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    while (this.#heap.length > 0) await this.#step();
    this.#pumping = false;
  }

  /** Puts the next beat among the events, if it is its turn; leaves out those of a long quiet time. */
  #beat(endMs: number): void {
    if (this.#beats.size === 0) return;
    const next = this.#next();
    const untilMs = Math.min(endMs, next?.atMs ?? Number.POSITIVE_INFINITY);
    let first = this.#firstBeat();
    if (first.event.atMs > untilMs) return;
    const isQuiet = this.#quietBeats >= beatRounds * this.#beats.size && next?.isBeat !== true;
    const spareMs = untilMs - first.event.atMs - (beatRounds + 1) * first.everyMs;
    if (isQuiet && spareMs > first.everyMs && Number.isFinite(spareMs)) {
      this.#quietBeats = Number.NEGATIVE_INFINITY;
      const leftOutMs = Math.floor(spareMs / first.everyMs) * first.everyMs;
      for (const beat of this.#beats.values())
        beat.event = { ...beat.event, atMs: beat.event.atMs + leftOutMs };
      first = this.#firstBeat();
    }
    this.#beats.delete(first);
    this.#push(first.event);
  }

  #firstBeat(): Beat {
    let found: Beat | undefined;
    for (const beat of this.#beats)
      if (found === undefined || isBefore(beat.event, found.event)) found = beat;
    if (found === undefined) throw new Error('there is no beat');
    return found;
  }

  /** First event that still counts. */
  #next(): ScheduledEvent | undefined {
    while (this.#heap[0]?.isCancelled === true) this.#pop();
    return this.#heap[0];
  }

  async #step(): Promise<void> {
    const event = this.#pop();
    if (event === undefined || event.isCancelled) return;
    this.nowMs = Math.max(this.nowMs, event.atMs);
    this.events += 1;
    if (!event.isBeat) this.#quietBeats = 0;
    else this.#quietBeats += 1;
    if (this.events > eventsMax && !this.#isFree)
      throw new Error(`more than ${eventsMax} events: the world does not come to rest`);
    this.note(event.tie ^ Math.floor(event.atMs));
    event.run();
    await settle();
    this.afterEvent();
  }

  /** Adds a number to the hash of the trace. */
  note(value: number): void {
    this.traceHash = Math.imul(this.traceHash ^ value, 0x01000193) >>> 0;
  }

  #push(event: ScheduledEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as ScheduledEvent;
      if (!isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): ScheduledEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const other = child + 1;
      if (
        other < heap.length &&
        isBefore(heap[other] as ScheduledEvent, heap[child] as ScheduledEvent)
      )
        child = other;
      const below = heap[child] as ScheduledEvent;
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

/** Immediates that are asked for at once: between any two of them Node ends all ticks, promises and rejections. */
const turnsAhead = 64;
const waiting: (() => void)[] = [];
let turnsLeft = 0;

const turn = (): void => {
  turnsLeft -= 1;
  waiting.shift()?.();
};

/**
 * Lets everything go on that needs no event: what comes before the next immediate ends all of it. Immediates are
 * asked for in advance, since a turn of the event loop for each of them would cost more than most events.
 */
const settle = (): Promise<void> =>
  new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length <= turnsLeft) return;
    for (let i = 0; i < turnsAhead; i += 1) setImmediate(turn);
    turnsLeft += turnsAhead;
  });

/**
 * Life of a simulated process. What it waits for at a port comes only while it lives, and what it asks of
 * a port after its end does nothing: so a crash cuts it at whatever await it stands.
 */
export class Life {
  readonly name: string;
  readonly scheduler: Scheduler;
  alive = true;
  /** Calls of ports after which the process ends; infinity: none. */
  callsLeft = Number.POSITIVE_INFINITY;
  /** Called when the calls are used up. */
  onCallsOver: () => void = () => undefined;
  #paused = false;
  #held: (() => void)[] = [];

  constructor(name: string, scheduler: Scheduler) {
    this.name = name;
    this.scheduler = scheduler;
  }

  /** Ends the process: nothing that it waits for comes any more. */
  end(): void {
    this.alive = false;
    this.#held = [];
  }

  /** Stops the process as a debugger or a full garbage collection does; `resume` goes on. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    const held = this.#held;
    this.#held = [];
    for (const run of held) this.scheduler.after(0, () => this.enter(run));
  }

  /** Runs a callback in the process, if it lives; later, if it is paused. */
  enter(run: () => void): void {
    if (!this.alive) return;
    if (this.#paused) this.#held.push(run);
    else run();
  }

  /** Counts one call of a port; false when the process is over, or ends with this call. */
  counts(): boolean {
    if (!this.alive) return false;
    this.callsLeft -= 1;
    if (this.callsLeft > 0) return true;
    this.end();
    this.onCallsOver();
    return false;
  }

  /** Call of a port that takes `ms`: its effect and its answer come then, if the process still lives. */
  call<A>(ms: number, work: () => A): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      if (!this.counts()) return;
      this.scheduler.after(ms, () =>
        this.enter(() => {
          try {
            resolve(work());
          } catch (cause) {
            reject(cause);
          }
        }),
      );
    });
  }

  /** Call of a port that takes no time. */
  now<A>(work: () => A): Promise<A> {
    if (!this.counts()) return new Promise<A>(() => undefined);
    try {
      return Promise.resolve(work());
    } catch (cause) {
      return Promise.reject(cause);
    }
  }

  /** What others do for the process: comes only while it lives. */
  pass<A>(work: Promise<A>): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      const counts = this.counts();
      work.then(
        (value) => counts && this.enter(() => resolve(value)),
        (cause: unknown) => counts && this.enter(() => reject(cause)),
      );
    });
  }

  /** Timer port of the process. */
  readonly timer: Timer = {
    sleep: (ms, signal) =>
      new Promise<void>((resolve) => {
        if (!this.alive) return;
        void this.scheduler.sleep(ms, signal).then(() => this.enter(resolve));
      }),
  };
}
