import { openLocalReplica, replicaOn, type LocalReplica, type Replica } from '@tidemark/client';
import { compressionNow } from '@tidemark/crypto-node';
import { TidemarkError } from '@tidemark/model';
import type { ReplicaStore } from '@tidemark/ports';
import { openReplicaStore } from '@tidemark/store-level';
import { crdt } from '../convergence/memory-parts.js';
import type { SeededRandom } from '../convergence/seeded-random.js';
import { customizationOf, type fieldIds } from '../convergence/tables.js';
import type { SimContext } from './context.js';
import type { Plan, PlannedDevice } from './plan.js';
import { OwnEdits, type OwnEdit } from './own-edits.js';
import { PromiseBook, type Promised } from './promises.js';
import { Life } from './scheduler.js';
import { crypto } from './sim-crypto.js';
import { SimDisk, type DiskBackup } from './sim-disk.js';
import { identityOf } from './sim-identity.js';
import { databaseOn } from './sim-level.js';
import type { SimNetwork } from './sim-network.js';
import { withMethods } from './with-methods.js';
import type { TypedTokens } from '../convergence/history.js';

/** Tenant of every simulated world. */
export const tenant = 'acme';
/** Period of live devices whose plan names none, ms. */
const livePeriodMs = 3_600_000;
/** First pause before a device whose storage failed at open is opened again, ms; it doubles. */
const openAgainMs = 1_000;
/** Longest of these pauses, ms. */
const openAgainMsMax = 60_000;
/** Tries to open before the world is taken for broken. */
const openTriesMax = 400;

/** Fields of a table by name. */
export type FieldName = keyof typeof fieldIds;

/** How a process ended, as far as what it must show later depends on it. */
export type Ending = 'closed' | 'kill' | 'power' | 'damage';

/** What the actors of a world share. */
export interface DeviceWorld {
  readonly plan: Pick<Plan, 'packed' | 'prepared' | 'identities'>;
  readonly context: SimContext;
  readonly network: SimNetwork;
  /** Remembers what a transaction typed into texts, by `name/table/record`. */
  readonly typed: Map<string, TypedTokens>;
  /** Reasons for which history itself was lost or doubled. */
  readonly inexact: Set<string>;
  /** Promises that may be broken, since what held them was destroyed. */
  readonly excused: Set<string>;
}

/** A device: a disk that stays, and one process after another that runs the production replica on it. */
export class DeviceActor {
  readonly name: string;
  readonly setup: PlannedDevice;
  readonly disk: SimDisk;
  readonly #world: DeviceWorld;
  readonly #random: SeededRandom;
  book = new PromiseBook();
  life: Life;
  replica: Replica | null = null;
  local: LocalReplica | null = null;
  store: ReplicaStore | null = null;
  clockErrorMs: number;
  /** Set while one edit is under way: a person does one thing at a time. */
  isEditing = false;
  /** What the edit under way types, by `table/record`. */
  typing = new Map<string, TypedTokens>();
  /** What the edit under way changes. */
  editing: OwnEdit[] = [];
  /** What its own edits must show. */
  readonly own = new OwnEdits();
  /** Set while its own edits are looked at beside everything else. */
  isLookedAt = false;
  /** Replica ids that this device had. */
  readonly ids = new Set<string>();
  /** Whether it should be live. */
  wantsLive = false;
  /** Newest (incarnation, version) that its reads showed. */
  shown = { incarnation: 0, version: 0 };
  /** Set when its disk was put back: what it shows may be older then, once. */
  mayGoBack = false;
  backup: DiskBackup | null = null;
  /** Names of the promised transactions that the backup holds. */
  #backedUp: ReadonlySet<string> = new Set();
  /** Users stay when a folder is copied or begun anew. */
  user: string;
  /** Name of the installation whose secret is in its folder: a copy has that of its origin. */
  installation: string;
  /** Set while its disk holds what damage left. */
  wasDamaged = false;
  #installs = 0;
  #ending: Ending = 'closed';
  #opening = 0;

  constructor(
    name: string,
    setup: PlannedDevice,
    world: DeviceWorld,
    random: SeededRandom,
    disk?: SimDisk,
  ) {
    this.name = name;
    this.setup = setup;
    this.#world = world;
    this.#random = random;
    this.disk = disk ?? new SimDisk(name, random.fork());
    this.clockErrorMs = setup.clockErrorMs;
    this.life = new Life(name, world.context.scheduler);
    this.life.end();
    this.user = `user-of-${name}`;
    this.installation = name;
  }

  /** Goes on as a copy of another device's folder. */
  takeUser(other: DeviceActor): void {
    this.user = other.user;
    this.installation = other.installation;
    this.wasDamaged = other.wasDamaged;
    this.#ending = 'damage';
  }

  get isOpen(): boolean {
    return this.replica !== null && this.life.alive;
  }

  get isStarting(): boolean {
    return this.life.alive && this.replica === null;
  }

  /** Starts the process; it opens what is on the disk, again and again while the disk fails. */
  start(): void {
    if (this.life.alive) return;
    const { context } = this.#world;
    const life = new Life(this.name, context.scheduler);
    this.life = life;
    this.replica = null;
    this.isEditing = false;
    void this.#open(life).catch((cause: unknown) => {
      context.violation ??= cause instanceof Error ? cause : new Error(String(cause));
    });
  }

  /** Ends the process where it stands. */
  crash(ending: Ending): void {
    this.life.end();
    this.forget(ending);
    if (ending !== 'power') return;
    // The image is not fsynced: after a power cut it may be older.
    this.mayGoBack = true;
    const lost = this.disk.cutPower();
    if (lost > 0) this.#world.context.saw('a power cut took batches');
  }

  /** Notes that the process is over. */
  forget(ending: Ending): void {
    const rank: readonly Ending[] = ['closed', 'kill', 'power', 'damage'];
    if (rank.indexOf(ending) > rank.indexOf(this.#ending)) this.#ending = ending;
    // An edit that was cut may be stored; a power cut may take others.
    if (this.isEditing || ending === 'power' || ending === 'damage') this.own.forget();
    this.isLookedAt = false;
    this.replica = null;
    this.local = null;
    this.store = null;
    this.isEditing = false;
  }

  /** Stays in touch with the server from now on. */
  goLive(): void {
    this.replica?.connect({ periodMs: this.setup.livePeriodMs ?? livePeriodMs });
  }

  /** Closes properly. */
  async close(): Promise<void> {
    const { replica, life } = this;
    if (replica === null || !life.alive) return;
    this.replica = null;
    await replica.close();
    this.forget('closed');
    life.end();
  }

  /** Keeps a copy of its disk. */
  makeBackup(): void {
    this.backup = this.disk.backup();
    this.#backedUp = new Set(this.book.promised.map(({ name }) => name));
  }

  /**
   * Puts the copy back: what was promised since is destroyed by that, also where the copy holds something else
   * under the same index, which a power cut had taken before.
   */
  putBack(backup: DiskBackup, withMarker: boolean): void {
    this.disk.restore(backup, withMarker);
    for (const { name } of this.book.keepOnly(this.#backedUp)) this.#world.excused.add(name);
  }

  /** Begins anew on an empty disk: everything that was only here is gone, and nobody says otherwise. */
  startOver(why: string): void {
    const { context, excused } = this.#world;
    for (const { name } of this.book.promised) excused.add(name);
    this.book = new PromiseBook();
    this.disk.wipe(true);
    this.shown = { incarnation: 0, version: 0 };
    this.#ending = 'closed';
    this.wasDamaged = false;
    this.own.forget();
    context.note(`${this.name} begins anew: ${why}`);
  }

  /** Everything above the end of the log that came back was lost: was any of it promised? */
  #checkPromises(lastIndex: number): void {
    const { context, excused } = this.#world;
    const lost = this.book.takeAbove(lastIndex);
    const mayLose = ({ durability, name }: Promised): boolean =>
      this.#ending === 'damage' ||
      (this.#ending === 'power' && durability === 'os' && !this.book.published.has(name));
    for (const promise of lost) {
      excused.add(promise.name);
      if (!mayLose(promise))
        context.violate(
          'I1',
          `${this.name} promised ${promise.first}..${promise.last} (${promise.what}) at ` +
            `"${promise.durability}", and after "${this.#ending}" its log ends at ${lastIndex}`,
        );
      else context.saw('a promise at "os" was lost with the power');
    }
  }

  async #open(life: Life): Promise<void> {
    const { context } = this.#world;
    for (let tried = 1; tried <= openTriesMax; tried += 1) {
      try {
        await this.#openOnce(life);
        return;
      } catch (cause) {
        if (!(cause instanceof TidemarkError)) throw cause;
        context.saw(`a device met ${cause.code} at open`);
        context.note(`${this.name} cannot open: ${cause.code} ${cause.message}`);
        if (cause.code === 'store-missing' || cause.code === 'storage-damaged') {
          if (this.#ending !== 'damage')
            context.violate('I3', `${this.name}: ${cause.code} on a disk that nobody damaged`);
          this.startOver(cause.code);
        } else await life.timer.sleep(Math.min(openAgainMs * 2 ** tried, openAgainMsMax));
      }
    }
    throw new Error(`${this.name} could not be opened`);
  }

  async #openOnce(life: Life): Promise<void> {
    const { plan, context, network, typed } = this.#world;
    this.#opening += 1;
    const opening = this.#opening;
    const isNew = !this.disk.exists && this.disk.marker === undefined;
    if (isNew) this.#installs += 1;
    const { store: opened, marker } = await openReplicaStore({
      database: databaseOn(this.disk, life),
      marker: this.disk.markerOf(life),
      hash: crypto.sha256,
      newId: this.#random.bytes(16),
    });
    const store = watchedStore(opened, (batch) => {
      const names = this.book.noteOffered(batch.append ?? []);
      for (const name of names)
        for (const [place, tokens] of this.typing) typed.set(`${name}/${place}`, tokens);
    });
    const clock = context.scheduler.clock(() => this.clockErrorMs);
    const entropy = { bytes: (count: number) => this.#random.bytes(count) };
    const local = await openLocalReplica({
      tenant,
      user: this.user,
      replica: `${this.name}-${this.#installs}`,
      customization: customizationOf(1),
      store,
      marker,
      clock,
      entropy,
      crypto,
      crdt,
    });
    this.ids.add(local.meta().replica);
    this.#meetDamage(local);
    this.#checkPromises(local.logEnd().lastIndex);
    this.#ending = 'closed';
    const replica = await replicaOn({
      local,
      transport: network.transportOf(this.name, life),
      scope: this.setup.scope,
      clock,
      entropy,
      timer: life.timer,
      crypto,
      compression: compressionNow,
      ...(plan.identities === true ? { identity: identityOf(this.installation, this.user) } : {}),
      // What a device with a narrower scope gets is searched for what it must not see.
      compress: this.setup.scope.tables === 'all' ? compressionOf(plan) : 'never',
      logger: {
        log: (level, message, fields) => {
          if (level !== 'debug' && level !== 'info')
            context.note(`${this.name} logs ${level}: ${message} ${JSON.stringify(fields)}`);
          // An engine writes of its own bugs at this level only.
          if (message.includes('stopped') || message.includes('threw'))
            context.violate('I10', `${this.name} met a bug: ${message} ${JSON.stringify(fields)}`);
        },
      },
      onEvent: (event) => {
        context.saw(`event ${event.type}`);
        if (event.type === 'clone-detected') this.ids.add(event.replica);
        if (event.type === 'repair') context.saw(`repair for ${event.reason}`);
        if (event.type === 'customization') context.saw(`customization ${event.result}`);
        const { type, ...facts } = event;
        context.note(`${this.name} event ${type} ${JSON.stringify(facts)}`);
      },
    });
    if (opening !== this.#opening || !life.alive) return;
    this.local = local;
    this.store = store;
    this.replica = replica;
    context.note(
      `${this.name} is open as ${local.meta().replica}, log ${local.logEnd().lastIndex}`,
    );
    if (this.wantsLive) this.goLive();
  }

  /** Damage is told where there is any, and only there. */
  #meetDamage(local: LocalReplica): void {
    const { context, excused } = this.#world;
    const { found, newEpoch, lost } = local.damage;
    for (const { kind } of found) context.saw(`damage ${kind}`);
    if (newEpoch) context.saw('damage led to a new epoch');
    if (this.#ending === 'damage') this.wasDamaged = true;
    // What was damaged once is told again until a run has repaired it.
    if (found.length > 0 && !this.wasDamaged)
      context.violate(
        'I3',
        `${this.name} tells of damage that nobody did: ${JSON.stringify(found)}`,
      );
    if (this.#ending !== 'damage') return;
    for (const { from, to } of lost)
      for (const { name, first, last } of this.book.promised)
        if (first <= to && last >= from) excused.add(name);
  }
}

/** Takes what servers have packed, too, where they prepare tables. */
const compressionOf = ({
  packed,
  prepared,
}: Pick<Plan, 'packed' | 'prepared'>): 'always' | 'auto' | 'never' => {
  if (packed === true) return 'always';
  return prepared === true ? 'auto' : 'never';
};

/** The same store; `onWrite` sees each batch before it is written. */
const watchedStore = (
  store: ReplicaStore,
  onWrite: (batch: Parameters<ReplicaStore['write']>[0]) => void,
): ReplicaStore => {
  const write: ReplicaStore['write'] = (batch, durability) => {
    onWrite(batch);
    return store.write(batch, durability);
  };
  return withMethods(store, { write });
};
