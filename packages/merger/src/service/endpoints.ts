import { invariant, isLeft, TidemarkError, type Schema } from '@tidemark/model';
import type { Caller, Clock, Compression, Crypto, Endpoint } from '@tidemark/ports';
import {
  decodeMessage,
  encodeMessage,
  inProtocol,
  type Mac,
  type MessageName,
  type Messages,
  type Protocols,
} from '@tidemark/protocol';
import type { FoldState } from '../fold/fold-state.js';
import type { InputEntry } from '../fold/input-entry.js';
import type { AppliedStore } from './applied-store.js';
import { authenticate } from './authenticate.js';
import { answerCompare } from './compare.js';
import { answerEnroll, type EnrollDeps } from './enroll.js';
import type { FoldDriver } from './fold-driver.js';
import { createPagesAhead, type PageTurn } from './pages-ahead.js';
import type { Horizon } from './pull-cursor.js';
import type { PreparedFills } from './prepared-fills.js';
import { KeyedSegments } from './keyed-segments.js';
import { answerPull, type PullSource } from './pull.js';
import type { ReceiptKey } from './receipt-key.js';
import {
  agreeOnLog,
  checkOwner,
  grantAnswer,
  readReplica,
  receiptOf,
  type ArchivedLog,
} from './replica-register.js';
import { doubtsAbout, type RewindGuard } from './rewind-guard.js';
import type { SyncLogBook } from './sync-log-book.js';
import type { TableSizes } from './table-sizes.js';

/** Longest wait of an answer for a version that the replica has seen elsewhere, ms. */
export const behindWaitMs = 500;

/** What the endpoints work with. */
export interface EndpointDeps {
  readonly tenant: string;
  readonly applied: AppliedStore;
  readonly schema: () => Schema;
  readonly driver: FoldDriver;
  readonly crypto: Crypto;
  /** Packs the tails of answers; undefined: they travel as they are. */
  readonly compression: Compression | undefined;
  readonly clock: Clock;
  readonly mac: Mac;
  readonly horizon: () => Horizon;
  readonly archived: (replica: string) => ArchivedLog | undefined;
  readonly prepared: PreparedFills;
  readonly sizes: TableSizes;
  readonly book: SyncLogBook;
  readonly submit: (entry: InputEntry) => Promise<FoldState>;
  /** Whether what the input held when the server was opened is applied. */
  readonly hasCaughtUp: () => boolean;
  /** Resolves when everything that the input holds at the call is applied. */
  readonly settle: () => Promise<FoldState>;
  readonly guard: RewindGuard;
  readonly receiptKey: ReceiptKey;
  readonly enroll: Pick<EnrollDeps, 'hook' | 'timer'>;
  /** Versions of the protocol that are answered; what this program speaks when left out. */
  readonly protocols: Protocols | undefined;
}

type Seen = Messages['ResumeRequest']['seen'];

const decodeAs = <N extends MessageName>(
  name: N,
  bytes: Uint8Array,
  protocols: Protocols | undefined,
): Messages[N] => {
  const decoded = decodeMessage(name, bytes, protocols);
  if (isLeft(decoded)) throw decoded.left;
  return decoded.right.message;
};

/** Waits until the store has what the replica has seen; an older incarnation of it is a rewind. */
const reach = async ({ applied, driver }: EndpointDeps, seen: Seen): Promise<void> => {
  const isReached = (): boolean => {
    const { incarnation, n } = applied.applied();
    return incarnation !== seen.incarnation ? incarnation > seen.incarnation : n >= seen.n;
  };
  // A replica that has seen nothing accepts any server.
  if (seen.n === 0 || isReached()) return;
  driver.nudge();
  if (!(await driver.within(behindWaitMs, isReached)))
    throw new TidemarkError('behind', 'the server is older than what the replica has seen', {
      incarnation: applied.applied().incarnation,
      n: applied.applied().n,
    });
};

const answerResume = async (
  deps: EndpointDeps,
  caller: Caller,
  request: Messages['ResumeRequest'],
): Promise<Uint8Array> => {
  await deps.guard.check(request.cursor, caller);
  await reach(deps, request.seen);
  // Receipt and agreement must be of one state.
  const answer = (): Promise<{ readonly bytes: Uint8Array; readonly needsEpoch: boolean }> =>
    deps.applied.alone(async () => {
      const fold = deps.applied.applied();
      const state = await readReplica(deps.applied.store, caller.replica);
      checkOwner(caller, state);
      const agreement = await agreeOnLog(deps.applied.store, state, request);
      const bytes = encodeMessage('ResumeAnswer', {
        ...agreement,
        receipt: deps.receiptKey.sign(
          caller.replica,
          receiptOf(fold, state, deps.archived(caller.replica)),
        ),
        generation: fold.position.generation,
        serverTimeMs: deps.clock.nowMs(),
        customizationVersion: fold.customizationVersion,
      });
      const needsEpoch = agreement.status !== 'ok' || state?.provisional !== request.provisional;
      return { bytes, needsEpoch };
    });
  const first = await answer();
  if (!first.needsEpoch) return first.bytes;
  // What the replica published before waits in the input perhaps: an epoch that continued below it would
  // bring the same operations once more.
  await deps.settle();
  return (await answer()).bytes;
};

/** Answers a pull; one that names pages ahead begins where those before it end. */
const answerPage = async (
  deps: EndpointDeps,
  source: PullSource,
  caller: Caller,
  request: Messages['PullRequest'],
  turn: PageTurn,
): Promise<Uint8Array> => {
  const { skip } = request;
  const cursor = skip === undefined ? request.cursor : await turn.begin(request.cursor, skip);
  const place = await deps.guard.check(cursor, caller);
  await reach(deps, request.seen);
  return answerPull(source, caller, { ...request, cursor }, place, turn.ends);
};

const answerGrant = async (
  deps: EndpointDeps,
  caller: Caller,
  request: Messages['GrantRequest'],
): Promise<Uint8Array> => {
  const state = await readReplica(deps.applied.store, caller.replica);
  checkOwner(caller, state);
  // Asked again after a lost answer: the epoch is granted already.
  if (state === undefined || state.provisional !== request.provisional) {
    const { tenant, replica, user } = caller;
    await deps.submit({ kind: 'grant', caller: { tenant, replica, user }, request });
  }
  const after = await readReplica(deps.applied.store, caller.replica);
  checkOwner(caller, after);
  const archived = deps.archived(caller.replica);
  const answer = grantAnswer(deps.applied.applied(), after, request, archived);
  const receipt = deps.receiptKey.sign(caller.replica, answer.receipt);
  return encodeMessage('GrantAnswer', { ...answer, receipt });
};

const answerCustomization = (
  deps: EndpointDeps,
  { have }: Messages['CustomizationRequest'],
): Uint8Array => {
  const { customization } = deps.schema();
  return encodeMessage('CustomizationAnswer', {
    version: customization.version,
    json: customization.version === have || customization.version === 0 ? null : customization,
  });
};

/** Answers the endpoints that a replica may call. Rejects with the TidemarkError for the caller. */
export const createEndpoints = (
  deps: EndpointDeps,
): ((caller: Caller, endpoint: Endpoint, body: Uint8Array) => Promise<Uint8Array>) => {
  const source: PullSource = {
    applied: deps.applied,
    schema: deps.schema,
    crypto: deps.crypto,
    compression: deps.compression,
    clock: deps.clock,
    mac: deps.mac,
    horizon: deps.horizon,
    receipt: async (replica, reads) =>
      receiptOf(deps.applied.applied(), await readReplica(reads, replica), deps.archived(replica)),
    signed: deps.receiptKey.sign,
    prepared: deps.prepared,
    keyed: new KeyedSegments(deps.applied.reloads),
    lineage: async (replica) => (await readReplica(deps.applied.store, replica))?.lineage ?? [],
    tableSize: (table, mayCount) => {
      if (mayCount) deps.sizes.want(table);
      return deps.sizes.of(table);
    },
  };
  const decode = <N extends MessageName>(name: N, bytes: Uint8Array): Messages[N] =>
    decodeAs(name, bytes, deps.protocols);
  const enrolling: EnrollDeps = {
    ...deps,
    ...deps.enroll,
    receiptKeys: [deps.receiptKey.publicKey],
  };
  const ahead = createPagesAhead(deps.crypto.sha256);
  const answer = async (
    caller: Caller,
    endpoint: Endpoint,
    bytes: Uint8Array,
    turn: PageTurn | undefined,
  ): Promise<Uint8Array> => {
    if (caller.tenant !== deps.tenant)
      throw new TidemarkError('wrong-tenant', 'the server serves another tenant');
    if (endpoint === 'enroll')
      return encodeMessage(
        'EnrollAnswer',
        await answerEnroll(enrolling, caller, bytes, (body) => decode('EnrollRequest', body)),
      );
    const body = await authenticate(deps, caller, endpoint, bytes);
    switch (endpoint) {
      case 'resume':
        return answerResume(deps, caller, decode('ResumeRequest', body));
      case 'grant':
        return answerGrant(deps, caller, decode('GrantRequest', body));
      case 'customization':
        return answerCustomization(deps, decode('CustomizationRequest', body));
      case 'pull':
        invariant(turn !== undefined, 'a pull has its turn');
        return answerPage(deps, source, caller, decode('PullRequest', body), turn);
      case 'compare': {
        const request = decode('CompareRequest', body);
        await deps.guard.check(request.cursor ?? request.image, caller);
        await reach(deps, request.seen);
        const doubt =
          request.cursor === null
            ? await doubtsAbout(deps.applied, deps.mac, caller, request.image)
            : undefined;
        return answerCompare(source, deps.schema(), caller, request, doubt);
      }
      case 'sync-log':
        await deps.book.add(caller, decode('SyncLog', body));
        return new Uint8Array(0);
    }
  };
  return async (caller, endpoint, body) => {
    // Before anything waits: pages are placed in the order in which they were asked for.
    const turn = endpoint === 'pull' ? ahead.enter(caller.replica) : undefined;
    try {
      // A device of an older version understands what it asked in.
      return inProtocol(await answer(caller, endpoint, body, turn), body[0] ?? 0);
    } finally {
      turn?.leave();
    }
  };
};
