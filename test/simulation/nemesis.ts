import { decodeEnvelope } from '@tidemark/model';
import { SeededRandom } from '../convergence/seeded-random.js';
import { tenant, type DeviceActor } from './device-actor.js';
import { sureFaults, type FaultKind, type PlannedEvent } from './plan.js';
import type { Life } from './scheduler.js';
import type { ServerActor } from './server-actor.js';
import type { SimWorld } from './sim-world.js';

/** Time after which a process that died is started again, ms at most. */
const restartMsMax = 90_000;
/** Time within which a process that is to end in a call ends, ms. */
const callsMsMax = 20_000;
/** Percent of power cuts of servers that follow a checkpoint, and time within which it is written, ms. */
const checkpointedPercent = 40;
const checkpointMsMax = 5_000;
/** Time for which a stream that lost its tail may be hard to reach, ms. */
const hardToReachMs = 20_000;
const clockJumps = [-48 * 3_600_000, -60_000, 5_000, 3_600_000, 48 * 3_600_000];

type DeviceFault = (world: SimWorld, device: DeviceActor, event: Struck) => void;
type ServerFault = (world: SimWorld, server: ServerActor, event: Struck) => void;

interface Struck extends PlannedEvent {
  readonly random: SeededRandom;
}

const restart = (world: SimWorld, who: DeviceActor | ServerActor, random: SeededRandom): void => {
  world.context.scheduler.after(random.below(restartMsMax), () => who.start());
};

const crashDevice = (
  world: SimWorld,
  device: DeviceActor,
  ending: 'kill' | 'power' | 'damage',
  random: SeededRandom,
): void => {
  const { context } = world;
  const phase = device.replica?.status.phase ?? 'down';
  context.saw(`a device died while ${phase}`);
  if (device.isEditing) context.saw('a device died in an edit');
  if (device.isStarting) context.saw('a device died at open');
  device.crash(ending);
  restart(world, device, random);
};

/** A process that calls too little to end in a call ends all the same. */
const endAnyway = (world: SimWorld, life: Life, forMs: number): void => {
  world.context.scheduler.after(Math.min(forMs, callsMsMax), () => {
    if (life.alive && Number.isFinite(life.callsLeft)) life.onCallsOver();
  });
};

/** Changes a device's disk while no process holds it. */
const harmDevice = (
  world: SimWorld,
  device: DeviceActor,
  { random, kind }: Struck,
  why: string,
  harm: () => string,
): void => {
  crashDevice(world, device, 'damage', random);
  const told = harm();
  device.mayGoBack = true;
  world.inexact.add(why);
  world.context.fault(kind, `${device.name} ${told}`);
};

const during = (world: SimWorld, { forMs }: Struck, begin: () => void, end: () => void): void => {
  begin();
  world.context.scheduler.after(forMs, end);
};

const onPath =
  (
    set: (path: ReturnType<SimWorld['network']['path']>, random: SeededRandom) => void,
  ): DeviceFault =>
  (world, device, event) => {
    const { network, context } = world;
    const path = network.path(device.name);
    set(path, event.random);
    context.note(`FAULT ${event.kind}: ${device.name} for ${event.forMs} ms`);
    context.fault(event.kind);
    context.scheduler.after(event.forMs, () => {
      if (network.paths.get(device.name) === path) network.paths.delete(device.name);
    });
  };

const onDisk =
  (set: (faults: DeviceActor['disk']['faults'], random: SeededRandom) => void): DeviceFault =>
  (world, device, event) => {
    world.context.fault(event.kind, `${device.name} for ${event.forMs} ms`);
    during(
      world,
      event,
      () => set(device.disk.faults, event.random),
      () => device.disk.heal(),
    );
  };

const deviceFaults: Partial<Record<FaultKind, DeviceFault>> = {
  partition: onPath((path) => {
    path.blockedOut = true;
    path.blockedIn = true;
  }),
  'half-open': onPath((path, random) => {
    if (random.chance(50)) path.blockedIn = true;
    else path.blockedOut = true;
  }),
  lossy: onPath((path, random) => {
    path.lossPercent = random.pick([5, 20, 50]);
    path.ackLossPercent = random.pick([5, 20, 50]);
  }),
  doubling: onPath((path, random) => {
    path.doublePercent = random.pick([10, 50, 100]);
    path.wayMsMax = 2_000;
  }),
  'slow-link': onPath((path, random) => {
    path.bytesPerMs = random.pick([1, 10]);
    path.wayMsMax = random.pick([300, 3_000]);
  }),
  cut: ({ network, context }, device, { kind }) => {
    if (network.cut(device.name) > 0) context.fault(kind, device.name);
  },
  'kill-device': (world, device, { random, kind }) => {
    if (!device.life.alive) return;
    world.context.fault(kind, device.name);
    crashDevice(world, device, 'kill', random);
  },
  'power-device': (world, device, { random, kind }) => {
    if (!device.life.alive) return;
    world.context.fault(kind, device.name);
    crashDevice(world, device, 'power', random);
  },
  'kill-device-in-call': (world, device, { random, kind, forMs }) => {
    const { life } = device;
    if (!life.alive) return;
    const isPower = random.chance(50);
    life.callsLeft = 1 + random.below(40);
    life.onCallsOver = () => {
      world.context.fault(kind, `${device.name}${isPower ? ' with the power' : ''}`);
      crashDevice(world, device, isPower ? 'power' : 'kill', random);
    };
    endAnyway(world, life, forMs);
  },
  'pause-device': (world, device, event) => {
    const { life } = device;
    if (!life.alive) return;
    world.context.fault(event.kind, `${device.name} for ${event.forMs} ms`);
    during(
      world,
      event,
      () => life.pause(),
      () => life.resume(),
    );
  },
  'disk-error': (world, device, { random, kind }) => {
    device.disk.faults.failIn = random.below(30);
    world.context.fault(kind, device.name);
  },
  'disk-broken': onDisk((faults) => {
    faults.broken = true;
  }),
  'disk-full': onDisk((faults) => {
    faults.full = true;
  }),
  'disk-slow': onDisk((faults, random) => {
    faults.writeMsMax = random.pick([50, 2_000]);
    faults.readMsMax = random.pick([0, 5, 100]);
  }),
  'clock-jump': (world, device, { random, kind }) => {
    device.clockErrorMs += random.pick(clockJumps);
    world.context.fault(kind, `${device.name} is wrong by ${device.clockErrorMs} ms`);
  },
  'lost-batches': (world, device, event) =>
    harmDevice(world, device, event, 'batches were lost', () => {
      return `lost ${device.disk.loseBatches()} batches`;
    }),
  'wiped-database': (world, device, event) =>
    harmDevice(world, device, event, 'a database was wiped', () => {
      device.disk.wipe(false);
      return 'lost its database';
    }),
  'wiped-device': (world, device, event) => {
    crashDevice(world, device, 'damage', event.random);
    world.context.fault(event.kind, device.name);
    device.mayGoBack = true;
    device.startOver('its folder was removed');
  },
  'old-database': (world, device, event) => putBack(world, device, event, false),
  'old-device': (world, device, event) => putBack(world, device, event, true),
  clone: (world, device, event) => {
    if (world.devices.length >= 9 || device.backup === null) return;
    world.inexact.add('a folder was copied');
    const copy = world.clone(device);
    world.context.fault(event.kind, `${copy.name} of ${device.name}`);
    copy.start();
  },
};

/** Puts the database of a device back to its backup, with the marker or without. */
const putBack = (
  world: SimWorld,
  device: DeviceActor,
  event: Struck,
  withMarker: boolean,
): void => {
  const { backup } = device;
  if (backup === null) {
    device.makeBackup();
    return;
  }
  harmDevice(world, device, event, 'a backup was put back', () => {
    device.putBack(backup, withMarker);
    return `was put back ${withMarker ? 'whole' : 'without its marker'}`;
  });
};

const crashServer = (
  world: SimWorld,
  server: ServerActor,
  kind: 'kill' | 'power',
  random: SeededRandom,
): void => {
  world.context.saw(server.renewing === null ? 'a server died at open' : 'a server died at work');
  // With its windows went what it knew of messages that the input has lost.
  if (server.crash(kind) > 0) world.lostFolded.delete(server);
  restart(world, server, random);
};

const serverFaults: Partial<Record<FaultKind, ServerFault>> = {
  'kill-server': (world, server, { random, kind }) => {
    if (!server.life.alive) return;
    world.context.fault(kind, server.name);
    crashServer(world, server, 'kill', random);
  },
  'power-server': (world, server, { random, kind }) => {
    const { life } = server;
    if (!life.alive) return;
    world.context.fault(kind, server.name);
    const cut = (): void => {
      if (server.life === life && life.alive) crashServer(world, server, 'power', random);
    };
    const merger = random.chance(checkpointedPercent) ? server.merger() : null;
    if (merger === null) return cut();
    // What was folded since may be lost, while the input up to the checkpoint is trimmed.
    world.context.saw('the power failed behind a checkpoint');
    void life.pass(merger.checkpoint()).then(cut, cut);
    world.context.scheduler.after(checkpointMsMax, cut);
  },
  'kill-server-in-call': (world, server, { random, kind, forMs }) => {
    const { life } = server;
    if (!life.alive) return;
    life.callsLeft = 1 + random.below(60);
    life.onCallsOver = () => {
      world.context.fault(kind, server.name);
      crashServer(world, server, random.chance(50) ? 'power' : 'kill', random);
    };
    endAnyway(world, life, forMs);
  },
  'pause-server': (world, server, event) => {
    const { life } = server;
    if (!life.alive) return;
    world.context.fault(event.kind, `${server.name} for ${event.forMs} ms`);
    during(
      world,
      event,
      () => life.pause(),
      () => life.resume(),
    );
  },
  'server-disk-error': (world, server, { random, kind }) => {
    const disk = random.chance(50) ? server.storeDisk : server.inputDisk;
    disk.faults.failIn = random.below(30);
    world.context.fault(kind, disk.name);
  },
  'server-disk-full': (world, server, event) => {
    world.context.fault(event.kind, `${server.name} for ${event.forMs} ms`);
    for (const disk of [server.storeDisk, server.inputDisk])
      during(
        world,
        event,
        () => {
          disk.faults.full = true;
        },
        () => disk.heal(),
      );
  },
  'server-disk-slow': (world, server, event) => {
    world.context.fault(event.kind, `${server.name} for ${event.forMs} ms`);
    for (const disk of [server.storeDisk, server.inputDisk])
      during(
        world,
        event,
        () => {
          disk.faults.writeMsMax = event.random.pick([50, 1_000]);
        },
        () => disk.heal(),
      );
  },
  'wiped-store': (world, server, { random, kind }) => {
    world.context.fault(kind, server.name);
    crashServer(world, server, 'kill', random);
    server.noteDamage();
    world.lostFolded.delete(server);
    // LevelDB may lose batches out of the middle, and says nothing.
    if (random.chance(50) && server.storeDisk.loseBatches() > 0)
      world.context.saw('a server lost batches of its store');
    else server.storeDisk.wipe(true);
  },
  'old-store': (world, server, { random, kind }) => {
    const { backup } = server;
    if (backup === null) return;
    world.context.fault(kind, server.name);
    crashServer(world, server, 'kill', random);
    server.noteDamage();
    world.lostFolded.delete(server);
    // A store older than an intact input folds the tail: no history is lost.
    server.storeDisk.restore(backup.store, true);
  },
  'old-server': (world, server, { random, kind }) => {
    const { backup } = server;
    if (backup === null) return;
    world.context.fault(kind, server.name);
    crashServer(world, server, 'kill', random);
    server.noteDamage();
    world.lostFolded.delete(server);
    world.inexact.add('a server was put back');
    world.lostInput = true;
    server.storeDisk.restore(backup.store, true);
    server.inputDisk.restore(backup.input, true);
  },
};

const streamFaults: Partial<Record<FaultKind, (world: SimWorld, event: Struck) => void>> = {
  'stream-down': (world, event) => withStream(world, event, (faults) => (faults.isDown = true)),
  'stream-ack-loss': (world, event) =>
    withStream(world, event, (faults) => (faults.ackLossPercent = event.random.pick([20, 60]))),
  'stream-call-loss': (world, event) =>
    withStream(world, event, (faults) => (faults.callLossPercent = event.random.pick([10, 40]))),
  'words-lost': (world, event) =>
    withStream(world, event, (faults) => (faults.wordLossPercent = event.random.pick([50, 100]))),
  'stream-clock': (world, { random, kind }) => {
    if (world.stream === null) return;
    world.stream.clockErrorMs = random.pick([-90_000, -5_000, 0, 30_000]);
    world.context.fault(kind, `wrong by ${world.stream.clockErrorMs} ms`);
  },
  'stream-full': (world, event) => {
    const { stream } = world;
    if (stream === null) return;
    world.context.fault(event.kind, `for ${event.forMs} ms`);
    during(
      world,
      event,
      () => {
        stream.bytesMax = stream.bytes + event.random.below(500);
      },
      () => {
        stream.bytesMax = Number.POSITIVE_INFINITY;
      },
    );
  },
  'stream-tail-lost': (world, { random, kind }) => {
    const { stream, context } = world;
    if (stream === null) return;
    const { generation, last } = stream.extent();
    const refill = random.chance(50) ? offeredAgain(world) : null;
    const lost = stream.loseTail(1 + random.below(6), refill);
    if (lost === 0) return;
    if (refill !== null) context.saw('numbers of lost messages were given out again');
    world.inexact.add('the stream lost its tail');
    world.lostInput = true;
    for (const server of world.servers) {
      const position = server.merger()?.state().position;
      if (position?.generation === generation && position.seq > last - lost)
        world.lostFolded.add(server);
    }
    context.fault(kind, `${lost} messages`);
    if (random.chance(50)) return;
    // What lost a tail is often hard to reach for a while: openings end in the middle.
    stream.faults.callLossPercent = random.pick([10, 40]);
    context.scheduler.after(hardToReachMs, () => stream.healWay());
  },
  'stream-removed': (world, { kind }) => {
    if (world.stream?.exists() !== true) return;
    world.inexact.add('the stream was removed');
    world.lostInput = true;
    for (const one of world.servers)
      if ((one.merger()?.state().position.seq ?? 0) > 0) world.lostFolded.add(one);
    world.stream.remove();
    world.context.fault(kind, 'all messages');
  },
};

/** The newest envelope of a device, as it offers it again when it hears nothing. */
const offeredAgain = (world: SimWorld): Uint8Array | null => {
  const envelope = world.lastEnvelope;
  const decoded = envelope === null ? null : decodeEnvelope(envelope);
  if (envelope === null || decoded?._tag !== 'Right') return null;
  const { replica, user } = decoded.right;
  return world.entryOf({ tenant, replica, user }, envelope);
};

const withStream = (
  { stream, context }: SimWorld,
  event: Struck,
  set: (faults: NonNullable<SimWorld['stream']>['faults']) => void,
): void => {
  if (stream === null) return;
  context.fault(event.kind, `for ${event.forMs} ms`);
  set(stream.faults);
  context.scheduler.after(event.forMs, () => stream.healWay());
};

const isOfServer = (kind: string): boolean => kind.includes('server');

/** Lets a fault befall its victim. */
export const strike = (world: SimWorld, event: PlannedEvent): void => {
  const struck: Struck = { ...event, random: new SeededRandom(event.seed) };
  const device = world.devices[event.who % world.devices.length];
  const server = world.servers[event.who % world.servers.length];
  if (event.kind === 'sabotage') {
    device?.crash('kill');
    device?.disk.wipe(false);
    return;
  }
  const before = world.context.faultCount();
  befall(world, event.kind as FaultKind, device, server, struck);
  // In its own call a process ends later; whoever is down already meets something else.
  const isComing =
    event.kind.endsWith('-in-call') && (isOfServer(event.kind) ? server : device)?.life.alive;
  if (world.context.faultCount() === before && isComing !== true)
    befall(world, struck.random.pick(sureFaults), device, server, struck);
};

const befall = (
  world: SimWorld,
  kind: FaultKind,
  device: DeviceActor | undefined,
  server: ServerActor | undefined,
  event: Struck,
): void => {
  const struck = { ...event, kind };
  if (device !== undefined) deviceFaults[kind]?.(world, device, struck);
  if (server !== undefined) serverFaults[kind]?.(world, server, struck);
  streamFaults[kind]?.(world, struck);
};
