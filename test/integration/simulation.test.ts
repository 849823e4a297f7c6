import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { crdt } from '../convergence/memory-parts.js';
import { SeededRandom } from '../convergence/seeded-random.js';
import { runBatch } from '../simulation/batch.js';
import { forgeryKinds } from '../simulation/forgeries.js';
import { drawPlan, type Plan } from '../simulation/plan.js';
import { Life, Scheduler } from '../simulation/scheduler.js';
import { shrinkPlan } from '../simulation/shrink.js';
import { simulate } from '../simulation/simulation.js';
import { sometimes } from '../simulation/sometimes.js';

// The deep suite runs thousands; here as many as keep `npm test` short.
const seedsHere = 3;
const sometimesMin = 60;
/** Seed whose traces are compared, and how much of its plan. */
const repeatedSeed = 7;
const eventsHere = 12;
/** Events of a world in which nothing but forgers is amiss. */
const forgedEvents = 66;
const regressions = new URL('../simulation/regressions/', import.meta.url);

const shortened = (plan: Plan): Plan => ({
  ...plan,
  devices: plan.devices.slice(0, 2),
  events: plan.events.slice(0, eventsHere),
});

describe('simulation', () => {
  beforeAll(async () => {
    await crdt();
  });

  test('[SIM-1] the same seed leaves the same trace, another seed another one', async () => {
    const plan = shortened(drawPlan(repeatedSeed));
    const first = await simulate(plan);
    const second = await simulate(plan);
    expect(second.trace).toEqual(first.trace);
    expect(second.traceHash).toBe(first.traceHash);
    const other = await simulate({ ...plan, seed: plan.seed + 1 });
    expect(other.traceHash).not.toBe(first.traceHash);
  });

  test('[SIM-2] what a process waits for does not come after its end', async () => {
    const scheduler = new Scheduler(0, new SeededRandom(1));
    const life = new Life('one', scheduler);
    const done: string[] = [];
    void life.call(5, () => done.push('effect')).then(() => done.push('answer'));
    void life.timer.sleep(5).then(() => done.push('slept'));
    scheduler.after(3, () => life.end());
    await scheduler.runUntil(100);
    void life.now(() => done.push('late')).then(() => done.push('late answer'));
    await scheduler.runUntil(200);
    expect(done).toEqual([]);
    const other = new Life('two', scheduler);
    other.callsLeft = 2;
    other.onCallsOver = () => done.push('over');
    void other.call(1, () => done.push('first'));
    void other.call(1, () => done.push('second'));
    await scheduler.runUntil(300);
    expect(done).toEqual(['over']);
  });

  test('[SIM-15] what repeats while nothing happens is left out of a long quiet time, and goes on behind it', async () => {
    const scheduler = new Scheduler(0, new SeededRandom(1));
    const everyMs = 2_000;
    const hourMs = 3_600_000;
    const beats: number[] = [];
    const beat = (): void => {
      beats.push(scheduler.nowMs);
      scheduler.afterBeat(everyMs, beat);
    };
    scheduler.afterBeat(everyMs, beat);
    const done: number[] = [];
    scheduler.after(hourMs, () => done.push(scheduler.nowMs));
    await scheduler.runUntil(hourMs + 10 * everyMs);
    expect(done).toEqual([hourMs]);
    expect(beats.slice(0, 2)).toEqual([everyMs, 2 * everyMs]);
    expect(beats.length).toBeLessThan(30);
    // Never late by more than one beat where something happens, and always on the beat.
    expect(beats.filter((at) => at > hourMs - 3 * everyMs && at <= hourMs)).toHaveLength(3);
    expect(beats.every((at) => at % everyMs === 0)).toBe(true);
  });

  test('[SIM-3] a few seeds break no invariant', async () => {
    const batch = await runBatch({ from: 1, count: seedsHere });
    const broken = batch.broken.map(({ seed, violation }) => `${seed}: ${violation?.message}`);
    process.stdout.write(
      `${batch.seeds} seeds (thousands in deep), ${batch.faults} faults, ` +
        `${batch.simulatedDays} simulated days, ${batch.seedsPerHour} seeds/h\n`,
    );
    expect(broken).toEqual([]);
    expect(batch.exact).toBeGreaterThan(0);
    expect(batch.faults).toBeGreaterThan(seedsHere);
  });

  const files = readdirSync(regressions).filter((name) => name.endsWith('.json'));
  test.each(files)('[SIM-4] regression %s holds', async (name) => {
    const plan = JSON.parse(readFileSync(new URL(name, regressions), 'utf8')) as Plan;
    expect((await simulate(plan)).violation?.message).toBeUndefined();
  });

  test('[SRV-97] a server whose input loses its end while it is opened is open soon after', async () => {
    const file = new URL('end-lost-while-opening.json', regressions);
    const { violation, trace } = await simulate(JSON.parse(readFileSync(file, 'utf8')) as Plan);
    expect(violation?.message).toBeUndefined();
    const lost = trace.findIndex((line) => line.includes('FAULT stream-tail-lost'));
    expect(lost).toBeGreaterThan(0);
    expect(trace.slice(lost).some((line) => line.includes('server-1 is open'))).toBe(true);
  });

  test('[NAT-73] a server under which the input became another one judges nobody by it', async () => {
    const file = new URL('digest-of-other-input.json', regressions);
    const { violation, trace } = await simulate(JSON.parse(readFileSync(file, 'utf8')) as Plan);
    expect(violation?.message).toBeUndefined();
    const ofServers = trace.filter((line) => / server-\d event /.test(line)).join('\n');
    expect(ofServers).toContain('server-2 event background-failed {"work":"folding again"');
    expect(ofServers).not.toContain('digest-differs');
    // What was lost with the tail is in the input again.
    expect(ofServers).toContain('server-2 event input-brought-back {"messages":2');
  });

  test('[PUL-78] a record does not stay pending for operations that the disk lost', async () => {
    const file = new URL('view-of-lost-operations.json', regressions);
    const { violation, trace } = await simulate(JSON.parse(readFileSync(file, 'utf8')) as Plan);
    expect(violation?.message).toBeUndefined();
    expect(trace.join('\n')).toContain('"kind":"log-tail","where":"operations 2..6"');
  });

  test('[SRV-98] damage is mended once: what the input loses afterwards begins a new incarnation', async () => {
    const file = new URL('damage-mended-once.json', regressions);
    const { violation, trace } = await simulate(JSON.parse(readFileSync(file, 'utf8')) as Plan);
    expect(violation?.message).toBeUndefined();
    const lost = trace.findIndex((line) => line.includes('FAULT stream-tail-lost'));
    const count = (lines: readonly string[], event: string): number =>
      lines.filter((line) => line.includes(`server-1 event ${event} `)).length;
    expect(count(trace.slice(0, lost), 'damage')).toBe(1);
    expect(count(trace.slice(0, lost), 'checkpoint-loaded')).toBe(1);
    expect(count(trace.slice(lost), 'damage')).toBe(0);
    expect(count(trace.slice(lost), 'checkpoint-loaded')).toBe(0);
    expect(count(trace.slice(lost), 'incarnation')).toBe(1);
  });

  test.each([
    ['embedded', 1],
    ['stream', 2],
  ] as const)(
    '[SIM-16] where identities are demanded, nothing forged is applied, and each is told of once: %s',
    async (mode, servers) => {
      const kinds = ['edit', 'sync', 'attack', 'attack', 'transaction', 'background'] as const;
      const events = Array.from({ length: forgedEvents }, (_, i) => {
        const kind = kinds[i % kinds.length] ?? 'edit';
        return {
          atMs: 1_000 + i * 5_000,
          kind,
          who: Math.floor(i / kinds.length),
          seed: i + 1,
          forMs: 0,
        };
      });
      const devices = [0, 1].map(() => ({ scope: { tables: 'all' as const }, clockErrorMs: 0 }));
      const plan = { ...drawPlan(repeatedSeed), mode, servers, devices, events, identities: true };
      const { violation, seen, trace } = await simulate(plan);
      expect(violation?.message).toBeUndefined();
      for (const kind of forgeryKinds) expect([...seen.keys()]).toContain(`fault forgery ${kind}`);
      const inInput = ['signature', 'unsigned', 'unknown-replica', 'revoked', 'chain'];
      for (const reason of mode === 'stream' ? [...inInput, 'identity', 'tenant'] : inInput)
        expect([...seen.keys()]).toContain(`quarantined for ${reason}`);
      expect(seen.get('each forgery was told of once')).toBeGreaterThan(0);
      if (mode === 'stream') expect((await simulate(plan)).trace).toEqual(trace);
    },
  );

  test('[SIM-12] the list of what must happen sometimes is long, and names each once', () => {
    expect(new Set(sometimes).size).toBe(sometimes.length);
    expect(sometimes.length).toBeGreaterThanOrEqual(sometimesMin);
  });

  test('[SIM-14] a failing plan shrinks to one that breaks the same invariant', async () => {
    const plan = drawPlan(repeatedSeed);
    // An excuse that nobody gave: a folder that vanishes although nothing in the plan removes it.
    const broken: Plan = {
      ...plan,
      devices: plan.devices.slice(0, 1),
      events: [
        ...plan.events.slice(0, 3).map((event) => ({ ...event, kind: 'read' as const })),
        { atMs: plan.events[3]?.atMs ?? 1, kind: 'sabotage', who: 0, seed: 1, forMs: 0 },
      ],
    };
    const first = await simulate(broken);
    expect(first.violation?.message).toMatch(/^I/);
    const shrunk = await shrinkPlan(broken, first.violation as Error);
    expect(shrunk.plan.events.map(({ kind }) => kind)).toEqual(['sabotage']);
    expect(shrunk.result.violation?.message).toMatch(/^I/);
  });
});
