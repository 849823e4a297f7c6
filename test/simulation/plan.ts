import type { Scope } from '@tidemark/filter';
import { SeededRandom } from '../convergence/seeded-random.js';

/** Things that people and programs do. */
export const deedKinds = [
  'edit',
  'transaction',
  'pair',
  'sync',
  'background',
  'connect',
  'disconnect',
  'resolve',
  'reopen',
  'read',
  'write',
  'foreign',
  'publish',
  'central',
  'checkpoint',
  'attack',
] as const;
export type DeedKind = (typeof deedKinds)[number];

/** Things that go wrong. */
export const faultKinds = [
  'partition',
  'half-open',
  'lossy',
  'doubling',
  'slow-link',
  'cut',
  'kill-device',
  'power-device',
  'kill-device-in-call',
  'pause-device',
  'disk-error',
  'disk-broken',
  'disk-full',
  'disk-slow',
  'clock-jump',
  'lost-batches',
  'wiped-database',
  'wiped-device',
  'old-database',
  'old-device',
  'clone',
  'kill-server',
  'power-server',
  'kill-server-in-call',
  'pause-server',
  'server-disk-error',
  'server-disk-full',
  'server-disk-slow',
  'wiped-store',
  'old-store',
  'old-server',
  'stream-down',
  'stream-ack-loss',
  'stream-call-loss',
  'words-lost',
  'stream-clock',
  'stream-full',
  'stream-tail-lost',
  'stream-removed',
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** One thing that happens, at its time, with chance of its own: others can be left out without touching it. */
export interface PlannedEvent {
  /** Milliseconds since the seed began. */
  readonly atMs: number;
  /** `sabotage` is never drawn: it harms a device and tells nobody, so that a checker must notice. */
  readonly kind: DeedKind | FaultKind | 'sabotage';
  /** Number of the device or server that it befalls. */
  readonly who: number;
  readonly seed: number;
  /** How long a fault lasts, ms. */
  readonly forMs: number;
}

export interface PlannedDevice {
  readonly scope: Scope;
  readonly clockErrorMs: number;
  /** Time after which a live device syncs although nothing nudged it, ms; an hour when absent. */
  readonly livePeriodMs?: number;
}

/** Everything that one simulated run is made from. The same plan gives the same trace. */
export interface Plan {
  readonly seed: number;
  /** Servers fold one stream that devices store into, or one server embeds its input. */
  readonly mode: 'embedded' | 'stream';
  readonly servers: number;
  readonly devices: readonly PlannedDevice[];
  readonly tables: readonly string[];
  readonly records: number;
  readonly texts: boolean;
  readonly trimInput: boolean;
  /** Servers prepare all tables in blocks of few rows: true of every fourth seed, absent in older plans. */
  readonly prepared?: boolean;
  /** Devices that hold everything get their pages packed: true of every third seed, absent in older plans. */
  readonly packed?: boolean;
  /** The tenant demands identities, and attackers forge: true of every fifth seed, absent in older plans. */
  readonly identities?: boolean;
  readonly events: readonly PlannedEvent[];
}

const gapsMs = [0, 0, 1, 20, 300, 5_000, 60_000, 900_000, 3_600_000, 5 * 3_600_000];
const lastsMs = [50, 1_000, 20_000, 300_000, 3_600_000];
const allTables = ['server_wins', 'device_wins', 'full_row', 'latest', 'manual', 'children'];
/** Faults after which what the oracle says cannot be compared: histories themselves were lost or doubled. */
const rareFaults: readonly FaultKind[] = [
  'lost-batches',
  'wiped-database',
  'wiped-device',
  'old-database',
  'old-device',
  'clone',
  'wiped-store',
  'old-store',
  'old-server',
  'stream-tail-lost',
  'stream-removed',
];
/** Faults that every plan holds at least; some of them lead to several. */
const faultsMin = 22;
/** Faults that befall a device whatever state it is in. */
export const sureFaults: readonly FaultKind[] = ['lossy', 'doubling', 'slow-link', 'clock-jump'];
const livePeriodsMs = [3_600_000, 6 * 3_600_000, 24 * 3_600_000];
const clockErrors = [0, 0, 0, -5_000, 90_000, 48 * 3_600_000, -48 * 3_600_000];

const subset = <A>(random: SeededRandom, all: readonly A[], percent: number): A[] =>
  all.filter(() => random.chance(percent));

const drawScope = (random: SeededRandom, index: number): Scope => {
  if (index === 0 || random.chance(70)) return { tables: 'all' };
  return random.chance(50)
    ? { tables: { server_wins: {}, manual: {}, latest: { fields: ['b', 'count', 'note'] } } }
    : { tables: { server_wins: {}, full_row: {}, latest: { filter: "b = 'x'" } } };
};

/** Draws the plan of a seed: its own mix of actors, deeds and faults. */
export const drawPlan = (seed: number): Plan => {
  const random = new SeededRandom(seed);
  const mode = random.chance(55) ? 'stream' : 'embedded';
  const servers = mode === 'embedded' ? 1 : random.pick([1, 2, 2, 3]);
  const count = random.pick([1, 2, 2, 2, 3, 3, 4, 8]);
  const devices = Array.from({ length: count }, (_, i) => {
    return {
      scope: drawScope(random, i),
      clockErrorMs: random.pick(clockErrors),
      livePeriodMs: random.pick(livePeriodsMs),
    };
  });
  const deeds: DeedKind[] = [
    'edit',
    'edit',
    'edit',
    'transaction',
    'sync',
    'sync',
    'sync',
    'resolve',
  ];
  for (const kind of subset(random, deedKinds, 65)) {
    const isHeavy = kind === 'edit' || kind === 'sync';
    for (let i = 0; i < (isHeavy ? 3 : 1); i += 1) deeds.push(kind);
  }
  // Half of the seeds lose no history, so that the oracle can be held against all of it.
  const isGentle = random.chance(60);
  const faults = subset(random, faultKinds, 45).filter(
    (kind) =>
      !(isGentle && rareFaults.includes(kind)) &&
      (mode === 'stream' || !kind.startsWith('stream-')) &&
      (servers > 1 || kind !== 'words-lost') &&
      (mode === 'embedded' || kind !== 'old-server'),
  );
  const tables = subset(random, allTables, 25);
  const steps = random.pick([36, 42, 54]);
  const events: PlannedEvent[] = [];
  const gaps = subset(random, gapsMs, 60);
  let atMs = 1_000;
  let missing = faultsMin;
  for (let i = 0; i < steps; i += 1) {
    atMs += random.pick(gaps.length === 0 ? gapsMs : gaps);
    const isFault = random.chance(50) || missing >= steps - i;
    if (isFault) missing -= 1;
    const kind = isFault
      ? random.pick(faults.length === 0 ? sureFaults : faults)
      : random.pick(deeds);
    const isOfServer = kind.includes('server') || kind.includes('store');
    const who = random.below(isOfServer ? servers : count);
    events.push({ atMs, kind, who, seed: random.next(), forMs: random.pick(lastsMs) });
  }
  return {
    seed,
    mode,
    servers,
    devices,
    tables: tables.length === 0 ? ['manual', 'children'] : tables,
    records: 1 + random.below(3),
    texts: random.chance(25),
    trimInput: random.chance(30),
    prepared: seed % 4 === 3,
    packed: seed % 3 === 1,
    identities: seed % 5 === 4,
    events,
  };
};
