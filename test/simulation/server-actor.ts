import { compressionNow } from '@tidemark/crypto-node';
import {
  createFellows,
  openMerger,
  placeEveryMs,
  type Fellows,
  type Merger,
  type ScratchStore,
  type ServerEvent,
  type WindowBounds,
} from '@tidemark/merger';
import { TidemarkError, toHex } from '@tidemark/model';
import type {
  CheckpointFolder,
  Clock,
  InputLog,
  InputMessage,
  ServerStore,
  Service,
  Timer,
} from '@tidemark/ports';
import { openRenewingMerger, type RenewingMerger } from '@tidemark/server';
import { openInputLog, openServerStore } from '@tidemark/store-level';
import { createMemoryCheckpoints } from '@tidemark/testkit';
import { crdt } from '../convergence/memory-parts.js';
import { customizationOf } from '../convergence/tables.js';
import type { SeededRandom } from '../convergence/seeded-random.js';
import type { SimContext } from './context.js';
import { tenant } from './device-actor.js';
import { Life } from './scheduler.js';
import { crypto } from './sim-crypto.js';
import { SimDisk, type DiskBackup } from './sim-disk.js';
import { authenticate } from './sim-identity.js';
import { databaseOn } from './sim-level.js';
import type { NetworkServer } from './sim-network.js';
import { SimInputLog, type SimStream } from './sim-stream.js';
import type { SimTalk } from './sim-talk.js';
import { withMethods } from './with-methods.js';

/** First pause before a server that cannot open is opened again, ms; it doubles. */
const openAgainMs = 1_000;
/** Longest of these pauses, ms. */
const openAgainMsMax = 60_000;
/** Tries to open before the world is taken for broken. */
const openTriesMax = 400;
/** Time after which an operator starts a server again whose fold stopped, ms. */
const operatorMs = 10_000;
/** Tables from the first byte on, a few rows in each block, prepared anew after a few changes. */
const fewRows = { bytesMin: 1, stepBytes: 600, staleBytesMin: 3_000, packedBytesMin: 400 };
const checkpointsKept = 2;
const cursorKey = new Uint8Array(32).fill(7);

/** What a server is started with. */
export interface ServerSetup {
  readonly name: string;
  readonly context: SimContext;
  readonly random: SeededRandom;
  /** Shared stream; null: the input is embedded. */
  readonly stream: SimStream | null;
  /** Way to the other servers of the stream. */
  readonly talk: SimTalk | null;
  readonly trimInput: boolean;
  readonly prepared: boolean;
  /** Shared by the servers of a stream; each its own when absent. */
  readonly checkpoints?: CheckpointFolder;
  readonly inexact: Set<string>;
  /** Version of the customization that the program of the servers brings. */
  readonly programVersion: () => 0 | 1 | 2 | 3;
  /** Told of each message that a fold reads. */
  readonly onFolded: (message: InputMessage) => void;
}

/** Bytes of the id by which servers know each other. */
const fellowIdBytes = 12;

/** Timer of a process among others: what it says of its place is a beat. */
const beatingTimer = (life: Life): Timer => ({
  sleep: (ms, signal) => {
    if (ms !== placeEveryMs) return life.timer.sleep(ms, signal);
    return new Promise<void>((resolve) => {
      if (!life.alive || signal?.aborted === true) return life.alive ? resolve() : undefined;
      const wake = (): void => {
        cancel();
        signal?.removeEventListener('abort', wake);
        life.enter(resolve);
      };
      const cancel = life.scheduler.afterBeat(ms, wake);
      signal?.addEventListener('abort', wake);
    });
  },
});

/** Checkpoint folder that a process reaches only while it lives. */
const livingFolder = (folder: CheckpointFolder, life: Life): CheckpointFolder => ({
  write: (name, manifest, chunks) => life.pass(folder.write(name, manifest, chunks)),
  list: () => life.pass(folder.list()),
  readManifest: (name) => life.pass(folder.readManifest(name)),
  readChunks: (name) => folder.readChunks(name),
  remove: (name) => life.pass(folder.remove(name)),
});

/** The same input; `onRead` sees what is read of it. */
const watchedInput = (input: InputLog, onRead: (message: InputMessage) => void): InputLog =>
  withMethods(input, {
    read: async (...args: Parameters<InputLog['read']>) => {
      const messages = await input.read(...args);
      for (const message of messages) onRead(message);
      return messages;
    },
  });

/** A server: disks and checkpoints that stay, and one process after another that runs the production merger. */
export class ServerActor implements NetworkServer {
  readonly name: string;
  readonly storeDisk: SimDisk;
  readonly inputDisk: SimDisk;
  readonly checkpoints: CheckpointFolder;
  readonly #setup: ServerSetup;
  readonly #onDown = new Set<() => void>();
  life: Life;
  renewing: RenewingMerger | null = null;
  fellows: Fellows | null = null;
  store: ServerStore | null = null;
  input: InputLog | null = null;
  backup: { readonly store: DiskBackup; readonly input: DiskBackup } | null = null;
  clockErrorMs = 0;
  /** Events of all its processes. */
  readonly events: ServerEvent[] = [];
  #window: Partial<WindowBounds> = {};
  #isDamaged = false;
  #failedOpens = 0;

  constructor(setup: ServerSetup) {
    this.#setup = setup;
    this.name = setup.name;
    this.checkpoints = setup.checkpoints ?? createMemoryCheckpoints();
    this.storeDisk = new SimDisk(`${setup.name} store`, setup.random.fork());
    this.inputDisk = new SimDisk(`${setup.name} input`, setup.random.fork());
    this.life = new Life(setup.name, setup.context.scheduler);
    this.life.end();
  }

  readonly up = (): { readonly life: Life; readonly service: Service } | null =>
    this.renewing === null || !this.life.alive
      ? null
      : { life: this.life, service: this.renewing.service };

  readonly onDown = (callback: () => void): (() => void) => {
    this.#onDown.add(callback);
    return () => this.#onDown.delete(callback);
  };

  /** Merger in force; null while there is none. */
  merger(): Merger | null {
    if (this.up() === null) return null;
    try {
      return this.renewing?.current() ?? null;
    } catch {
      return null;
    }
  }

  start(): void {
    if (this.life.alive) return;
    const { context } = this.#setup;
    const life = new Life(this.name, context.scheduler);
    this.life = life;
    void this.#open(life).catch((cause: unknown) => {
      context.violation ??= cause instanceof Error ? cause : new Error(String(cause));
    });
  }

  /** Ends the process where it stands; tells how many windows and messages went with the power. */
  crash(kind: 'kill' | 'power'): number {
    this.life.end();
    this.forget();
    if (kind === 'kill') return 0;
    const lost = this.storeDisk.cutPower() + this.inputDisk.cutPower();
    if (lost > 0) this.#setup.context.saw('a power cut took windows of a server');
    return lost;
  }

  forget(): void {
    this.renewing = null;
    this.store = null;
    this.input = null;
    for (const callback of [...this.#onDown]) callback();
    this.#onDown.clear();
  }

  /** Its disks were damaged or put back: what opening finds is no fault of the engine. */
  noteDamage(): void {
    this.#isDamaged = true;
  }

  async close(): Promise<void> {
    const { renewing, store, input, life, fellows } = this;
    if (renewing === null || !life.alive) return;
    this.forget();
    await renewing.close();
    fellows?.leave();
    await store?.close();
    await input?.close();
    life.end();
  }

  /** A fold that stopped for good is an operator's business: the process is started again. */
  #callOperator(life: Life): void {
    const { context } = this.#setup;
    context.saw('an operator started a server again');
    context.scheduler.after(operatorMs, () => {
      if (this.life !== life || !life.alive) return;
      this.crash('kill');
      this.start();
    });
  }

  /** A process that cannot open ends; whoever runs it starts the next one after a pause. */
  async #open(life: Life): Promise<void> {
    const { context, inexact } = this.#setup;
    try {
      await this.#openOnce(life);
      this.#failedOpens = 0;
    } catch (cause) {
      if (!(cause instanceof TidemarkError)) throw cause;
      context.saw(`a server met ${cause.code} at open`);
      context.note(`${this.name} cannot open: ${cause.code} ${cause.message}`);
      if (cause.code === 'store-missing' || cause.code === 'storage-damaged') {
        // Where input was lost on purpose, what other servers trimmed may be missing here.
        if (!this.#isDamaged && inexact.size === 0)
          context.violate('I12', `${this.name}: ${cause.code}, and nobody damaged its disks`);
        // As the door does: a store is a fold of the input, and is begun anew when it is lost.
        inexact.add('a store was begun anew');
        this.storeDisk.wipe(true);
      }
      this.crash('kill');
      this.#failedOpens += 1;
      if (this.#failedOpens > openTriesMax) throw new Error(`${this.name} cannot be opened`);
      const pauseMs = Math.min(openAgainMs * 2 ** this.#failedOpens, openAgainMsMax);
      context.scheduler.after(pauseMs, () => this.start());
    }
  }

  /** As the door does: a server brings the customization of its program, which a backup may not know. */
  async #publishAtOpen(renewing: RenewingMerger): Promise<void> {
    const version = this.#setup.programVersion();
    if (version === 0) return;
    await renewing.settle();
    const merger = renewing.current();
    if (merger.schema().customization.version >= version) return;
    this.#setup.context.saw('a server brought its customization');
    await merger.publish(customizationOf(version), 'server');
  }

  #fellowsOf(life: Life, clock: Clock): Fellows | null {
    const { talk, random } = this.#setup;
    if (talk === null) return null;
    return createFellows(talk.of(life), clock, toHex(random.bytes(fellowIdBytes)));
  }

  /** A store of its own on an empty disk, for as long as the input is folded again. */
  async #openScratch(life: Life): Promise<ScratchStore> {
    const disk = new SimDisk(`${this.name} scratch`, this.#setup.random.fork());
    const store = await openServerStore({
      database: databaseOn(disk, life),
      marker: disk.markerOf(life),
      hash: crypto.sha256,
    });
    return { store, dispose: () => store.close() };
  }

  async #openOnce(life: Life): Promise<void> {
    const { context, random, stream, trimInput, prepared, inexact } = this.#setup;
    const clock = context.scheduler.clock(() => this.clockErrorMs);
    const { hash } = { hash: crypto.sha256 };
    this.#window = {
      operationsMax: random.pick([1, 3, 4_096]),
      messagesMax: random.pick([1, 2, 1_000]),
    };
    const store = await openServerStore({
      database: databaseOn(this.storeDisk, life),
      marker: this.storeDisk.markerOf(life),
      hash,
    });
    // A process that finds no stream makes the first generation, as the real input log does; one that finds
    // the newest without a message begins it again.
    if (stream !== null && !stream.faults.isDown) {
      stream.create();
      stream.beginAgain();
    }
    const input =
      stream === null
        ? await openInputLog({
            database: databaseOn(this.inputDisk, life),
            marker: this.inputDisk.markerOf(life),
            hash,
            clock,
          })
        : new SimInputLog({
            stream,
            life,
            random: random.fork(),
            hash,
            newId: () => Buffer.from(random.bytes(12)).toString('hex'),
            onFault: (kind) => context.fault(kind),
          });
    const folded = watchedInput(input, this.#setup.onFolded);
    const onEvent = (event: ServerEvent): void => {
      this.events.push(event);
      context.saw(`server ${event.type}`);
      if (event.type === 'quarantined') context.saw(`quarantined for ${event.reason}`);
      const { type, ...facts } = event;
      context.note(`${this.name} event ${type} ${JSON.stringify(facts)}`);
      const isDivergence =
        type === 'digest-differs' || (type === 'fold-failed' && event.code === 'fold-diverged');
      // Lines of a lost input may meet at one place; servers of one whole input never differ.
      if (isDivergence && inexact.size === 0)
        context.violate('I8', `${this.name}: ${type} ${JSON.stringify(facts)}`);
      if (event.type === 'fold-failed' && event.halted && event.code !== 'input-mismatch')
        this.#callOperator(life);
    };
    const fellows = this.#fellowsOf(life, clock);
    const timer = fellows === null ? life.timer : beatingTimer(life);
    const renewing = await openRenewingMerger({
      clock,
      timer,
      onEvent,
      onReady: (isReady) => context.saw(isReady ? 'a server was ready' : 'a server was not ready'),
      open: (tell, isReopened) =>
        openMerger({
          tenant,
          isReopened,
          store,
          input: folded,
          crypto,
          compression: compressionNow,
          clock,
          timer,
          ...(fellows === null ? {} : { fellows, scratch: () => this.#openScratch(life) }),
          entropy: { bytes: (count) => random.bytes(count) },
          crdt,
          cursorKey,
          authenticate,
          window: this.#window,
          ...(prepared ? { prepared: fewRows } : {}),
          onEvent: tell,
          checkpoints: {
            folder: livingFolder(this.checkpoints, life),
            keep: checkpointsKept,
            trimInput,
          },
        }),
    });
    await this.#publishAtOpen(renewing);
    if (!life.alive) return;
    this.store = store;
    this.input = input;
    this.renewing = renewing;
    this.fellows = fellows;
    this.#isDamaged = false;
    context.note(`${this.name} is open`);
  }
}
