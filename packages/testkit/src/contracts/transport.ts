import { TidemarkError, utf8Decode, utf8Encode } from '@tidemark/model';
import type { AbortSignalLike, Caller, Link, Service, Transport } from '@tidemark/ports';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

/** One transport under test, with the server's side and the switch that cuts it. */
export interface TransportHarness {
  /** Transport whose far end is the service. */
  readonly connect: (service: Service) => Promise<Transport>;
  /** Loses all links, as a broken network does. */
  readonly cut: () => Promise<void>;
  readonly dispose: () => Promise<void>;
}

interface TestSignal extends AbortSignalLike {
  readonly abort: () => void;
}

const testSignal = (): TestSignal => {
  const listeners = new Set<() => void>();
  let aborted = false;
  return {
    get aborted() {
      return aborted;
    },
    addEventListener: (_type, listener) => listeners.add(listener),
    removeEventListener: (_type, listener) => listeners.delete(listener),
    abort: () => {
      aborted = true;
      for (const listener of [...listeners]) listener();
    },
  };
};

const caller: Caller = { tenant: 'acme', replica: 'r1', user: 'ann' };

/** Service that answers what it was asked, with switches. */
const createEchoService = () => {
  const ticks = new Set<() => void>();
  const published: string[] = [];
  const received: Uint8Array[] = [];
  const held: (() => void)[] = [];
  const service: Service = {
    publish: (who, envelope) => {
      published.push(`${who.tenant}/${who.replica}/${who.user} ${utf8Decode(envelope)}`);
      received.push(envelope);
      return Promise.resolve();
    },
    answer: async (who, endpoint, body) => {
      const text = utf8Decode(body);
      if (text === 'behind') throw new TidemarkError('behind', 'not yet', { n: 3 });
      if (text === 'bug') throw new Error('a bug with secrets');
      if (text === 'hold')
        await new Promise<void>((resolve) => {
          held.push(resolve);
        });
      return utf8Encode(`${endpoint} ${who.user} ${text}`);
    },
    onTick: (callback) => {
      ticks.add(callback);
      return () => ticks.delete(callback);
    },
  };
  return {
    service,
    published,
    received,
    tick: () => {
      for (const callback of [...ticks]) callback();
    },
    listeners: () => ticks.size,
    release: () => {
      for (const resolve of held) resolve();
    },
  };
};

const codeOf = async (call: Promise<unknown>): Promise<string> => {
  try {
    await call;
    return 'no failure';
  } catch (cause) {
    return cause instanceof TidemarkError ? cause.code : 'another failure';
  }
};

/** Registers the rules that every Transport keeps. */
export const registerTransportContract = (
  name: string,
  createHarness: () => Promise<TransportHarness>,
): void => {
  describe(`${name}: Transport`, () => {
    let harness: TransportHarness;
    let echo: ReturnType<typeof createEchoService>;
    let transport: Transport;
    let link: Link;
    /** What the transport itself registers at the service, with no link open. */
    let listenersAtRest = 0;
    beforeEach(async () => {
      harness = await createHarness();
      echo = createEchoService();
      transport = await harness.connect(echo.service);
      listenersAtRest = echo.listeners();
      link = await transport.open(caller);
    });
    afterEach(async () => {
      echo.release();
      await link.close();
      await harness.dispose();
    });

    it('[SRV-60] carries requests and envelopes with their caller, and copies bytes', async () => {
      const body = utf8Encode('hello');
      const answer = link.request('resume', body);
      body.fill(0);
      expect(utf8Decode(await answer)).toBe('resume ann hello');
      const envelope = utf8Encode('envelope');
      await link.publish(envelope);
      envelope.fill(0);
      // A network may store an envelope first and hand it on later.
      await vi.waitFor(() => expect(echo.published).toEqual(['acme/r1/ann envelope']));
      expect(utf8Decode(echo.received[0] as Uint8Array)).toBe('envelope');
    });

    it('[SRV-61] hands on coded errors with their code and nothing of a bug', async () => {
      expect(await codeOf(link.request('pull', utf8Encode('behind')))).toBe('behind');
      expect(await codeOf(link.request('pull', utf8Encode('bug')))).toBe('unreachable');
      const message = await link.request('pull', utf8Encode('bug')).catch(String);
      expect(String(message)).not.toContain('secrets');
    });

    it('[SRV-62] ends a call when its signal fires, before and while it runs', async () => {
      const early = testSignal();
      early.abort();
      expect(await codeOf(link.request('pull', utf8Encode('x'), early))).toBe('aborted');
      const late = testSignal();
      const call = link.request('pull', utf8Encode('hold'), late);
      late.abort();
      expect(await codeOf(call)).toBe('aborted');
      expect(await codeOf(transport.open(caller, early))).toBe('aborted');
      expect(utf8Decode(await link.request('pull', utf8Encode('y')))).toBe('pull ann y');
    });

    it('[SRV-63] wakes on a tick, and says when none came', async () => {
      const waiting = link.waitForTick(10_000);
      echo.tick();
      expect(await waiting).toBe(true);
      expect(await link.waitForTick(5)).toBe(false);
      const signal = testSignal();
      const stopped = link.waitForTick(10_000, signal);
      signal.abort();
      expect(await codeOf(stopped)).toBe('aborted');
    });

    it('[SRV-64] a lost link ends what is in flight, tells once, and a new one works', async () => {
      let lost = 0;
      link.onLost(() => {
        lost += 1;
      });
      const call = link.request('pull', utf8Encode('hold'));
      const waiting = link.waitForTick(10_000);
      const ends = Promise.all([codeOf(call), codeOf(waiting)]);
      await harness.cut();
      expect(await ends).toEqual(['unreachable', 'unreachable']);
      expect(await codeOf(link.publish(utf8Encode('z')))).toBe('unreachable');
      expect(lost).toBe(1);
      const next = await transport.open(caller);
      expect(utf8Decode(await next.request('pull', utf8Encode('again')))).toBe('pull ann again');
      await next.close();
      expect(await codeOf(next.request('pull', utf8Encode('closed')))).toBe('unreachable');
    });

    it('[SRV-65] leaves nothing registered at the service when its links are closed', async () => {
      const second = await transport.open({ ...caller, replica: 'r2' });
      await second.close();
      await link.close();
      expect(echo.listeners()).toBe(listenersAtRest);
    });
  });
};
