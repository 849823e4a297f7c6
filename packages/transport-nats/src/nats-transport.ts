import { createInbox, type NatsConnection } from '@nats-io/nats-core';
import { isDeviceId, TidemarkError } from '@tidemark/model';
import type { AbortSignalLike, Clock, Entropy, Timer, Transport } from '@tidemark/ports';
import { Abort, aborted, isAborted, orAborted } from './abort.js';
import { dialPauseMs } from './back-off.js';
import { ByteWindow } from './byte-window.js';
import { DeviceLink } from './device-link.js';
import { connectionFailure } from './failure.js';
import { ServerChoices } from './server-choice.js';
import { inboxPrefixOf, noDevice } from './subjects.js';

/** Bytes of envelopes that wait for the word that they are stored, over all links of a connection. */
export const publishBytesInFlightMax = 2 * 1024 * 1024;

/** Encryption of a connection; texts in PEM. */
export interface NatsTls {
  /** Certificates that are trusted in place of those of the system. */
  readonly ca?: string;
  /** Certificate and key of this side, where NATS wants one. */
  readonly certificate?: string;
  readonly key?: string;
}

/** Where and how a device reaches NATS. */
export interface NatsPlace {
  /** Addresses, tried in random order: `nats://`, `tls://`, `ws://` or `wss://`. */
  readonly servers: readonly string[];
  /** Name of the connection, as operators see it. */
  readonly name?: string;
  /** User and password, or a token; with neither the server must let everybody in. */
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** Demands encryption, with addresses of any form; `tls://` and `wss://` do so by themselves. */
  readonly tls?: NatsTls;
  /** Contents of a credentials file: a signed user and its seed. */
  readonly credentials?: string;
  /** Device that the credential is of, as `tidemark enroll` named it: part of its subjects and inboxes. */
  readonly device?: string;
  /** Prefix of the inbox of answers; a credential allows exactly one. That of the device when left out. */
  readonly inboxPrefix?: string;
}

/** Effects of a transport. */
export interface NatsEffects {
  readonly clock: Clock;
  readonly timer: Timer;
  readonly entropy: Entropy;
}

/** Transport over NATS: one connection for all its links, opened with the first and closed with the last. */
export interface NatsTransport extends Transport {
  /** Number of open links. */
  readonly openLinks: () => number;
  /** Ends all links and the connection; a later `open` dials again. */
  readonly disconnect: () => Promise<void>;
}

/** Options of a transport whose way to dial is given. */
export interface NatsTransportOptions extends NatsEffects {
  readonly dial: () => Promise<NatsConnection>;
  readonly device?: string | undefined;
  /** Prefix of inboxes; that of the device, or of NATS, when left out. */
  readonly inboxPrefix?: string | undefined;
}

interface Connected {
  readonly connection: NatsConnection;
  readonly window: ByteWindow;
  readonly links: Set<DeviceLink>;
}

class SharedConnection {
  readonly #options: NatsTransportOptions;
  /** Outlives the connection: a run that ends closes it, and the next one must not wait again. */
  readonly #choices = new ServerChoices();
  #current: Connected | undefined;
  #dialling: Promise<Connected> | undefined;
  /** Fired to end the pause before a dial. */
  #pause: Abort | undefined;
  #opening = 0;
  #failures = 0;
  #failedAtMs = 0;

  constructor(options: NatsTransportOptions) {
    this.#options = options;
  }

  get links(): number {
    return this.#current?.links.size ?? 0;
  }

  async open(caller: DeviceCaller, signal: AbortSignalLike | undefined): Promise<DeviceLink> {
    if (isAborted(signal)) throw aborted();
    this.#opening += 1;
    let connected: Connected | undefined;
    let link: DeviceLink | undefined;
    try {
      connected = await orAborted(this.#connected(), signal);
      const { connection, window, links } = connected;
      const { clock, timer, entropy, device = noDevice } = this.#options;
      const prefix =
        this.#options.inboxPrefix ?? (device === noDevice ? '' : inboxPrefixOf(device));
      const opened = new DeviceLink({
        connection,
        caller,
        choice: this.#choices.of(caller.tenant),
        clock,
        timer,
        entropy,
        window,
        device,
        inbox: () => createInbox(prefix),
        onEnded: () => {
          links.delete(opened);
          this.#closeIfIdle();
        },
      });
      link = opened;
      links.add(opened);
      await opened.open(signal);
      return opened;
    } catch (cause) {
      link?.end();
      if (isAborted(signal)) throw aborted();
      throw connectionFailure(cause);
    } finally {
      this.#opening -= 1;
      this.#closeIfIdle();
    }
  }

  async disconnect(): Promise<void> {
    const dialling = this.#dialling;
    this.#cutPause();
    // What a dial under way opens would stay open with nobody to close it.
    await dialling?.catch(() => undefined);
    await this.#close();
  }

  async #close(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    if (current === undefined) return;
    for (const link of [...current.links]) link.end();
    await current.connection.close();
  }

  #closeIfIdle(): void {
    if (this.#opening > 0) return;
    this.#cutPause();
    if (this.#current === undefined || this.#current.links.size > 0) return;
    void this.#close().catch(() => undefined);
  }

  /** Ends the pause before a dial; who opens a link from now on begins a dial of its own. */
  #cutPause(): void {
    if (this.#pause === undefined) return;
    this.#dialling = undefined;
    this.#pause.abort();
    this.#pause = undefined;
  }

  #connected(): Promise<Connected> {
    if (this.#current !== undefined && !this.#current.connection.isClosed())
      return Promise.resolve(this.#current);
    if (this.#dialling !== undefined) return this.#dialling;
    const dialling = this.#dial().finally(() => {
      if (this.#dialling === dialling) this.#dialling = undefined;
      // Whoever wanted it may have left meanwhile.
      this.#closeIfIdle();
    });
    this.#dialling = dialling;
    return dialling;
  }

  /** Dials for everybody who opens a link meanwhile: its pause is cut only when nobody is left. */
  async #dial(): Promise<Connected> {
    const { clock, timer, entropy, dial } = this.#options;
    const sinceMs = Math.max(0, clock.nowMs() - this.#failedAtMs);
    const pauseMs = dialPauseMs(this.#failures, entropy) - sinceMs;
    if (pauseMs > 0) {
      const pause = new Abort();
      this.#pause = pause;
      await timer.sleep(pauseMs, pause);
      if (pause.aborted) throw new TidemarkError('unreachable', 'nobody waits for the connection');
      this.#pause = undefined;
    }
    try {
      const connection = await dial();
      const current: Connected = {
        connection,
        window: new ByteWindow(publishBytesInFlightMax),
        links: new Set(),
      };
      this.#failures = 0;
      this.#current = current;
      void connection.closed().then(() => {
        if (this.#current === current) this.#current = undefined;
        for (const link of [...current.links]) link.end();
      });
      return current;
    } catch (cause) {
      this.#failures += 1;
      this.#failedAtMs = clock.nowMs();
      throw connectionFailure(cause);
    }
  }
}

type DeviceCaller = Parameters<Transport['open']>[0];

/** Builds a transport from a way to dial. The connection must not reconnect by itself. */
export const createNatsTransport = (options: NatsTransportOptions): NatsTransport => {
  const shared = new SharedConnection(options);
  return {
    open: (caller, signal) => shared.open({ ...caller }, signal),
    openLinks: () => shared.links,
    disconnect: () => shared.disconnect(),
  };
};

/** Throws `invalid-option` unless a place names at least one server, and its device is one. */
export const checkPlace = ({ servers, device }: NatsPlace): void => {
  if (device !== undefined && !isDeviceId(device))
    throw new TidemarkError('invalid-option', 'a device is named by 1 to 64 of [A-Za-z0-9_-]', {
      option: 'device',
    });
  if (servers.length === 0 || servers.some((one) => one === ''))
    throw new TidemarkError('invalid-option', 'servers names at least one NATS address', {
      option: 'servers',
    });
};
