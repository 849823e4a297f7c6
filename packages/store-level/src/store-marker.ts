import { concatBytes, equalBytes, type Hash } from '@tidemark/model';
import type { Marker } from '@tidemark/ports';
import { getU48, setU48 } from './keys.js';
import { storeIdBytes } from './open-database.js';

const markerFormat = 1;
const checksumBytes = 8;
const headerBytes = 1 + 1 + storeIdBytes + 6;
/** Greatest ordinal that a marker may tell of: no store comes there, and all above must still find room. */
const ordinalMax = 2 ** 47;

/** What the marker beside a database says about the store, and the payload of the engine. */
export interface MarkerContent {
  readonly storeId: Uint8Array;
  /** Ordinal of a batch that was fsynced: a store whose newest ordinal is lower lost its tail. */
  readonly ordinal: number;
  /** True when a read found damage: the next open repairs the database first. */
  readonly repairWanted: boolean;
  /** Undefined until the engine wrote one. */
  readonly payload: Uint8Array | undefined;
}

/**
 * Bytes of a marker: format, flags (1 repair wanted, 2 has payload), store id, ordinal u48, payload, and 8
 * bytes of the hash of all that.
 */
export const encodeMarker = (content: MarkerContent, hash: Hash): Uint8Array => {
  const header = new Uint8Array(headerBytes);
  header[0] = markerFormat;
  header[1] = (content.repairWanted ? 1 : 0) | (content.payload === undefined ? 0 : 2);
  header.set(content.storeId, 2);
  setU48(header, 2 + storeIdBytes, content.ordinal);
  const body = concatBytes([header, content.payload ?? new Uint8Array(0)]);
  return concatBytes([body, hash(body).subarray(0, checksumBytes)]);
};

/** Reads a marker; says whether bytes that are none are of a newer format or damaged. */
export const decodeMarker = (
  bytes: Uint8Array,
  hash: Hash,
): MarkerContent | 'newer-format' | 'damaged' => {
  if (bytes.length === 0) return 'damaged';
  if ((bytes[0] as number) > markerFormat) return 'newer-format';
  if (bytes.length < headerBytes + checksumBytes) return 'damaged';
  const body = bytes.subarray(0, bytes.length - checksumBytes);
  if (!equalBytes(hash(body).subarray(0, checksumBytes), bytes.subarray(body.length)))
    return 'damaged';
  const flags = body[1] as number;
  const ordinal = getU48(body, 2 + storeIdBytes);
  if (ordinal > ordinalMax) return 'damaged';
  return {
    storeId: new Uint8Array(body).slice(2, 2 + storeIdBytes),
    ordinal,
    repairWanted: (flags & 1) !== 0,
    payload: (flags & 2) === 0 ? undefined : new Uint8Array(body).slice(headerBytes),
  };
};

/** Options of a StoreMarker. */
export interface StoreMarkerOptions {
  /** Where the bytes are kept. */
  readonly raw: Marker;
  readonly hash: Hash;
  readonly content: MarkerContent;
  /** Newest ordinal known to be fsynced. */
  readonly durableOrdinal: () => number;
}

/**
 * StoreMarker keeps what the store itself must know (id, durable ordinal) and the payload of the engine in
 * one marker. Writes follow each other in the order of calls.
 */
export class StoreMarker implements Marker {
  readonly #raw: Marker;
  readonly #hash: Hash;
  readonly #durableOrdinal: () => number;
  #content: MarkerContent;
  #last: Promise<void> = Promise.resolve();

  constructor({ raw, hash, content, durableOrdinal }: StoreMarkerOptions) {
    this.#raw = raw;
    this.#hash = hash;
    this.#content = content;
    this.#durableOrdinal = durableOrdinal;
  }

  /** Payload that the engine wrote last; undefined when it wrote none. */
  readonly read = async (): Promise<Uint8Array | undefined> => {
    await this.#last.catch(() => undefined);
    return this.#content.payload;
  };

  /** Replaces the payload; the durable ordinal goes along. */
  readonly write = (payload: Uint8Array): Promise<void> => this.#update({ payload });

  /** Records the durable ordinal, without touching the payload. */
  recordOrdinal(): Promise<void> {
    return this.#durableOrdinal() > this.#content.ordinal ? this.#update({}) : this.#last;
  }

  /** Writes the marker as it is known. */
  rewrite(): Promise<void> {
    return this.#update({});
  }

  /** Asks the next open to repair the database. */
  wantRepair(): Promise<void> {
    return this.#content.repairWanted ? this.#last : this.#update({ repairWanted: true });
  }

  #update(change: Partial<MarkerContent>): Promise<void> {
    const write = async (): Promise<void> => {
      const ordinal = Math.max(this.#content.ordinal, this.#durableOrdinal());
      const next = { ...this.#content, ...change, ordinal };
      await this.#raw.write(encodeMarker(next, this.#hash));
      this.#content = next;
    };
    const done = this.#last.catch(() => undefined).then(write);
    this.#last = done;
    return done;
  }
}
