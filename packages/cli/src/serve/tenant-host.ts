import { TidemarkError } from '@tidemark/model';
import type { NatsServerConnection, Server, ServerEvent } from '@tidemark/server';
import { readSchemaFile } from '../config/schema-file.js';
import type { Settings } from '../config/settings.js';
import { showFailure } from '../failure.js';
import { checkpointPlaceOf } from '../server/checkpoint-place.js';
import { connectDesk } from '../server/control-client.js';
import { serveControl } from '../server/control-server.js';
import type { Desk } from '../server/desk.js';
import { inputPlaceOf, leaveInput, requireSameInput } from '../server/input-place.js';
import { localDesk } from '../server/local-desk.js';
import { openFolder, type LooseTables } from '../server/open-folder.js';
import { eachLimited, endsWithin, pause } from './bounded.js';

/** Tenants that are opened or closed at once. */
export const tenantsAtOnceMax = 4;
/** First pause before a tenant that could not be opened is opened again, ms; each further one doubles. */
export const reopenPauseMsFirst = 1_000;
/** Longest pause before a tenant that could not be opened is opened again, ms. */
export const reopenPauseMsMax = 60_000;
/** Longest wait at the end for input that is not applied yet, ms. */
export const stopDrainMsMax = 10_000;
/** Longest wait at the end for a checkpoint, ms. */
export const stopCheckpointMsMax = 120_000;
/** Longest wait at the end for a tenant to close, ms. */
export const stopCloseMsMax = 15_000;

/** Why a tenant is not served. */
export interface TenantFailure {
  readonly code: string;
  readonly message: string;
}

/** A tenant that is served. */
export interface OpenTenant {
  readonly server: Server<LooseTables>;
  readonly desk: Desk;
  readonly folder: string;
}

/** A tenant of this server as readiness tells it. */
export interface TenantState {
  readonly tenant: string;
  readonly state: 'opening' | 'ready' | 'failed' | 'stopping';
  readonly failure: TenantFailure | null;
}

/** What hosting works with. */
export interface TenantHostOptions {
  readonly tenants: readonly Settings[];
  readonly connection: NatsServerConnection;
  /** Addresses at which devices reach the tenants. */
  readonly nats: readonly string[];
  readonly isMoving: boolean;
  readonly onEvent: (tenant: string, event: ServerEvent) => void;
  readonly onOpen: (tenant: string, open: OpenTenant) => void | Promise<void>;
  /** `retryMs`: pause before it is opened again. */
  readonly onFailed: (tenant: string, failure: TenantFailure, retryMs: number) => void;
  readonly onMoved: (tenant: string) => void;
}

interface Hosted {
  readonly settings: Settings;
  readonly name: string;
  open: (OpenTenant & { readonly endControl: () => Promise<void> }) | undefined;
  failure: TenantFailure | null;
  attempt: Promise<void>;
}

const notOpen = (settings: Settings): Hosted => ({
  settings,
  name: settings.needed('tenant'),
  open: undefined,
  failure: null,
  attempt: Promise.resolve(),
});

/** Replicas are not answered, and no failure says why. */
const inDoubt: TenantFailure = {
  code: 'unreachable',
  message: 'the server finds its place in the input again, or its state is in doubt',
};

const failureOf = (cause: unknown): TenantFailure => {
  const { code, message } = showFailure(cause);
  // The stack of a bug stays out of answers; the log has the code.
  return { code, message: message.split('\n')[0] ?? '' };
};

/** No device has ever synced with the folder's server: then its input may move without a word. */
const isUnseen = async (settings: Settings): Promise<boolean> => {
  const server = await openFolder(settings, {});
  try {
    return (await server.health()).replicas.length === 0;
  } finally {
    await server.close();
  }
};

/** Serves tenants side by side: one that fails is tried again, and never stops the others. */
export class TenantHost {
  readonly #options: TenantHostOptions;
  readonly #hosted: Hosted[];
  readonly #stopping = new AbortController();

  constructor(options: TenantHostOptions) {
    this.#options = options;
    this.#hosted = options.tenants.map(notOpen);
  }

  /** Serves another tenant, too; one that cannot be opened is tried again like the others. */
  add(settings: Settings): void {
    if (this.#stopping.signal.aborted) return;
    const hosted = notOpen(settings);
    this.#hosted.push(hosted);
    const open = async (): Promise<void> => {
      try {
        await this.#open(hosted);
      } catch (cause) {
        hosted.failure = failureOf(cause);
        await this.#openAgain(hosted);
      }
    };
    hosted.attempt = open();
  }

  /**
   * Opens all tenants. Rejects with the first failure when none can be opened, else goes on opening those
   * that failed.
   */
  async start(): Promise<void> {
    const causes: unknown[] = [];
    const failed: Hosted[] = [];
    await eachLimited(this.#hosted, tenantsAtOnceMax, async (hosted) => {
      try {
        await this.#open(hosted);
      } catch (cause) {
        causes.push(cause);
        failed.push(hosted);
        hosted.failure = failureOf(cause);
      }
    });
    if (failed.length === this.#hosted.length) {
      await this.stop(() => Promise.resolve());
      throw causes[0];
    }
    for (const hosted of failed) hosted.attempt = this.#openAgain(hosted);
  }

  states(): readonly TenantState[] {
    return this.#hosted.map(({ name, open, failure }) => {
      const state = (word: TenantState['state'], found: TenantFailure | null): TenantState => ({
        tenant: name,
        state: word,
        failure: found,
      });
      if (this.#stopping.signal.aborted) return state('stopping', null);
      if (open === undefined) return state(failure === null ? 'opening' : 'failed', failure);
      try {
        const found = open.server.status().failure;
        if (found !== undefined) return state('failed', failureOf(found));
        return open.server.isReady() ? state('ready', null) : state('failed', inDoubt);
      } catch (cause) {
        return state('failed', failureOf(cause));
      }
    });
  }

  opened(): readonly (readonly [string, OpenTenant | undefined])[] {
    return this.#hosted.map(({ name, open }) => [name, open]);
  }

  /**
   * Ends in order, each step within its bound: commands, what is in flight, a checkpoint where one is
   * configured, the stores. `onLate` is told what did not end in time. Where NATS is lost for good nothing more
   * comes, and nothing is waited for.
   */
  async stop(
    onLate: (tenant: string, step: string) => Promise<void> | void,
    isLost = false,
  ): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#hosted.map(({ attempt }) => attempt));
    await eachLimited(this.#hosted, tenantsAtOnceMax, async ({ name, settings, open }) => {
      if (open === undefined) return;
      const step = async (what: string, ms: number, work: () => Promise<unknown>) => {
        const inTime = await endsWithin(ms, work()).catch(() => false);
        if (!inTime) await onLate(name, what);
      };
      await step('calls', stopDrainMsMax, () =>
        Promise.all([open.endControl(), open.server.stopServing()]),
      );
      if (!isLost) await step('input', stopDrainMsMax, () => open.server.settle());
      if (!isLost && settings.isOn('checkpoints.onStop'))
        await step('checkpoint', stopCheckpointMsMax, () => open.server.checkpoint());
      await step('store', stopCloseMsMax, () => open.desk.close());
    });
  }

  async #openAgain(hosted: Hosted): Promise<void> {
    const { signal } = this.#stopping;
    for (let pauseMs = reopenPauseMsFirst; ; pauseMs = Math.min(2 * pauseMs, reopenPauseMsMax)) {
      if (hosted.failure !== null) this.#options.onFailed(hosted.name, hosted.failure, pauseMs);
      await pause(pauseMs, signal);
      if (signal.aborted) return;
      try {
        await this.#open(hosted);
        return;
      } catch (cause) {
        hosted.failure = failureOf(cause);
      }
    }
  }

  async #settleInput(settings: Settings, name: string): Promise<void> {
    const place = await inputPlaceOf(settings);
    const isOwnNats = place === 'managed' && settings.list('nats.servers') === undefined;
    // What the nats-server of this configuration holds stays where it is: it is being served.
    if (this.#options.isMoving && !isOwnNats) return leaveInput(settings, place);
    if (place === 'folder' && (await isUnseen(settings))) {
      await leaveInput(settings, place);
      this.#options.onMoved(name);
      return;
    }
    requireSameInput(place, place === 'folder' || settings.list('nats.servers') !== undefined);
  }

  async #open(hosted: Hosted): Promise<void> {
    const { settings, name } = hosted;
    const { connection, nats, onEvent, onOpen } = this.#options;
    const folder = settings.needed('folder');
    const publish = await readSchemaFile(settings);
    if ((await connectDesk(folder)) !== undefined)
      throw new TidemarkError('folder-in-use', `a server is running on ${folder}`);
    await this.#settleInput(settings, name);
    const server = await openFolder(settings, {
      publish,
      connection,
      onEvent: (event) => onEvent(name, event),
    });
    const desk = localDesk(server, {
      checkpoints: await checkpointPlaceOf(settings),
      nats,
    });
    try {
      const endControl = await serveControl(folder, desk);
      hosted.open = { server, desk, folder, endControl };
      hosted.failure = null;
      await onOpen(name, hosted.open);
    } catch (cause) {
      hosted.open = undefined;
      await desk.close();
      throw cause;
    }
  }
}
