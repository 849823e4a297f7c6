import { encodeInputEntry } from '@tidemark/merger';
import { decodeEnvelope, openTransaction } from '@tidemark/model';
import type { Caller, InputMessage } from '@tidemark/ports';
import { crypto } from '../convergence/memory-parts.js';
import { createMemoryCheckpoints } from '@tidemark/testkit';
import { SeededRandom } from '../convergence/seeded-random.js';
import type { TypedTokens } from '../convergence/history.js';
import { SimContext } from './context.js';
import { DeviceActor, type DeviceWorld } from './device-actor.js';
import { FoldedMessage } from './folded-message.js';
import type { Plan } from './plan.js';
import { transactionName } from './promises.js';
import { Scheduler } from './scheduler.js';
import { ServerActor } from './server-actor.js';
import type { SimDisk } from './sim-disk.js';
import { SimNetwork } from './sim-network.js';
import { SimStream } from './sim-stream.js';
import { SimTalk } from './sim-talk.js';
import { Workload } from './workload.js';

/** Canary in a row that no filtered device may ever hold. */
export const canary = 'CANARY-7f3a';

/** True envelopes that are kept for attackers. */
const publishedKept = 32;

/** A server's own write that somebody was told is done, by the name of its user. */
export interface PromisedWrite {
  readonly user: string;
  readonly text: string;
}

/** Everything of one simulated world: actors, network, what was promised, what was lost on purpose. */
export class SimWorld implements DeviceWorld {
  readonly plan: Plan;
  readonly context: SimContext;
  readonly network: SimNetwork;
  readonly stream: SimStream | null;
  readonly servers: readonly ServerActor[];
  readonly devices: DeviceActor[];
  readonly workload: Workload;
  readonly typed = new Map<string, TypedTokens>();
  readonly serverTyped = new Map<string, TypedTokens>();
  readonly inexact = new Set<string>();
  readonly excused = new Set<string>();
  readonly promisedWrites: PromisedWrite[] = [];
  /** Bad messages that reached the input, by why they are bad. */
  readonly attacks: string[] = [];
  /** True envelopes that devices published, the newest; kept where identities are demanded. */
  readonly published: Uint8Array[] = [];
  /** Why a forged entry of the input is quarantined, by `entryName`. */
  readonly forged = new Map<string, string>();
  /** Those of them that were made when nothing ended any process any more. */
  readonly forgedInPeace = new Set<string>();
  /** Set when every fault is over. */
  isHealed = false;
  /** By `replica/epoch/index`: the transaction that was sent under it. */
  readonly sent = new Map<string, string>();
  /** Set when acknowledged input was lost on purpose: what servers alone had written may be gone. */
  lostInput = false;
  /** Servers that hold what was folded of messages that are lost: one of them must say so. */
  readonly lostFolded = new Set<ServerActor>();
  /** Envelope that a device sent last. */
  lastEnvelope: Uint8Array | null = null;
  readonly foldedNames = new Set<string>();
  readonly foldedUsers = new Set<string>();
  readonly #folded = new Map<string, FoldedMessage>();
  rowVersion = 0;
  version: 1 | 2 | 3 = 1;
  /** Set when the first customization was published. */
  hasBegun = false;

  constructor(plan: Plan) {
    const random = new SeededRandom(plan.seed ^ 0x5eed);
    const scheduler = new Scheduler(SimContext.startMs, random.fork());
    this.plan = plan;
    this.context = new SimContext(scheduler, random.fork());
    this.stream = plan.mode === 'stream' ? new SimStream(scheduler) : null;
    const { context, stream } = this;
    const talk =
      stream === null
        ? null
        : new SimTalk({ context, stream, random: new SeededRandom(plan.seed ^ 0x7a1c) });
    const checkpoints = createMemoryCheckpoints();
    this.servers = Array.from(
      { length: plan.servers },
      (_, i) =>
        new ServerActor({
          name: `server-${i + 1}`,
          context: this.context,
          random: random.fork(),
          stream,
          talk,
          trimInput: plan.trimInput,
          prepared: plan.prepared === true,
          checkpoints,
          inexact: this.inexact,
          programVersion: () => (this.hasBegun ? this.version : 0),
          onFolded: (message) => this.#noteFolded(message),
        }),
    );
    this.network = new SimNetwork({
      context: this.context,
      random: random.fork(),
      servers: this.servers,
      stream: this.stream,
      envelopeEntry: (caller, envelope) => this.entryOf(caller, envelope),
      onPublished: (_caller, envelope) => this.notePublished(envelope),
      onReceived: (device, bytes) => this.#checkScope(device, bytes),
    });
    this.devices = plan.devices.map(
      (setup, i) =>
        new DeviceActor(`device-${String.fromCharCode(65 + i)}`, setup, this, random.fork()),
    );
    this.workload = new Workload(plan, this.context);
  }

  /** Entry of the input that an envelope becomes. */
  entryOf(caller: Caller, envelope: Uint8Array): Uint8Array {
    return encodeInputEntry({ kind: 'envelope', caller, envelope });
  }

  /** Every disk of the world with who uses it. */
  disks(): readonly SimDisk[] {
    return [
      ...this.devices.map(({ disk }) => disk),
      ...this.servers.flatMap(({ storeDisk, inputDisk }) => [storeDisk, inputDisk]),
    ];
  }

  /** A copy of a device's folder that goes on beside it. */
  clone(device: DeviceActor): DeviceActor {
    const name = `${device.name}-copy`;
    const copy = new DeviceActor(name, device.setup, this, this.context.random.fork());
    copy.disk.restore(device.disk.backup(), true);
    copy.takeUser(device);
    this.devices.push(copy);
    return copy;
  }

  /** Notes what goes out; one id must never name two transactions. */
  notePublished(envelope: Uint8Array): void {
    this.lastEnvelope = envelope.slice();
    if (this.plan.identities === true) {
      this.published.push(this.lastEnvelope);
      if (this.published.length > publishedKept) this.published.shift();
    }
    for (const { id, name, replica } of transactionsOf(envelope)) {
      for (const one of this.devices) if (one.ids.has(replica)) one.book.published.add(name);
      const before = this.sent.get(id);
      this.sent.set(id, name);
      if (before === undefined || before === name) continue;
      if (this.inexact.size === 0)
        this.context.violate('I4', `${id} was sent as ${before} and as ${name}`);
      else this.context.saw('an id was sent with two contents');
    }
  }

  /** No byte of a row outside of its scope reaches a device. */
  #checkScope(name: string, bytes: Uint8Array): void {
    const device = this.devices.find((one) => one.name === name);
    if (device === undefined || device.setup.scope.tables === 'all') return;
    if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(canary))
      this.context.violate('I15', `${name} was sent a row outside of its scope`);
  }

  /** Every message that was folded, in order. In worlds that lost input, those read last. */
  folded(): readonly FoldedMessage[] {
    return [...this.#folded.values()].sort(
      ({ message: { position: a } }, { message: { position: b } }) =>
        a.generation - b.generation || a.seq - b.seq,
    );
  }

  messages(): readonly InputMessage[] {
    return this.folded().map(({ message }) => message);
  }

  #noteVersion({ version }: { readonly version: 1 | 2 | 3 }): void {
    if (version > this.version) this.version = version;
  }

  #noteFolded(message: InputMessage): void {
    const { generation, seq } = message.position;
    const place = `${generation}/${seq}`;
    if (this.#folded.get(place)?.isSame(message) === true) return;
    const folded = new FoldedMessage(message);
    this.#folded.set(place, folded);
    const { entry, envelope, name } = folded;
    if (entry?.kind === 'write') this.foldedUsers.add(entry.user);
    // Published, even where the answer was lost: from now on programs bring it along.
    if (entry?.kind === 'customization') this.#noteVersion(entry.json as { version: 1 | 2 | 3 });
    if (envelope === undefined || this.forged.has(name)) return;
    for (const one of envelope.transactions) this.foldedNames.add(one.name);
  }
}

/** Transactions of an envelope with the ids that they are sent under. */
export const transactionsOf = (
  envelope: Uint8Array,
): readonly {
  readonly id: string;
  readonly name: string;
  readonly replica: string;
  readonly user: string;
  readonly index: number;
}[] => {
  const decoded = decodeEnvelope(envelope);
  if (decoded._tag === 'Left') return [];
  const { replica, user, epoch, from, transactions } = decoded.right;
  let index = from;
  return transactions.map((bytes) => {
    const opened = openTransaction(bytes, crypto.sha256);
    const one = {
      id: `${replica}/${epoch}/${index}`,
      name: transactionName(bytes),
      replica,
      user,
      index,
    };
    index += opened._tag === 'Right' ? opened.right.opCount : 1;
    return one;
  });
};
