import * as t from 'io-ts';
import { equalBytes, utf8Decode, utf8Encode } from '@tidemark/model';
import type { Clock, InputPosition, ServerTalk } from '@tidemark/ports';
import type { FoldState } from '../fold/fold-state.js';

/** Time between two words of a server about its place, ms. */
export const placeEveryMs = 2_000;
/** Time after which a server that says nothing is no longer counted on, ms. */
export const fellowForgottenMs = 60_000;
/** Servers of one tenant that are remembered at once. */
export const fellowsMax = 64;

/** Place of a server in the history of its tenant. */
export interface Stand {
  readonly incarnation: number;
  readonly n: number;
  readonly position: InputPosition;
  readonly digest: string;
}

/**
 * What servers tell each other. `place`: where one stands now. `stand`: where one stands whose input is
 * missing. `mark`: the digest where digests are compared. `refold`: what folding again gave there.
 * `leave`: a server ends.
 */
export type FellowWord = Stand & {
  readonly kind: 'place' | 'stand' | 'mark' | 'refold' | 'leave';
  /** Id of the server that says it. */
  readonly from: string;
};

const count = t.refinement(t.number, (n) => Number.isSafeInteger(n) && n >= 0);
const wordFormat = 1;
const codec = t.type({
  format: t.literal(wordFormat),
  kind: t.keyof({ place: null, stand: null, mark: null, refold: null, leave: null }),
  from: t.string,
  incarnation: count,
  n: count,
  position: t.type({ generation: count, seq: count }),
  digest: t.string,
});

const decodeWord = (bytes: Uint8Array): FellowWord | undefined => {
  try {
    const decoded = codec.decode(JSON.parse(utf8Decode(bytes)));
    return decoded._tag === 'Right' ? decoded.right : undefined;
  } catch {
    return undefined;
  }
};

/** The other servers of a tenant, as far as they have been heard of. */
export interface Fellows {
  readonly id: string;
  readonly say: (kind: FellowWord['kind'], stand: Stand) => void;
  /** Calls back for each word of another server. Returns the way to stop. */
  readonly onWord: (callback: (word: FellowWord) => void) => () => void;
  /** Newest word about the place of each other server that is counted on. */
  readonly places: () => readonly FellowWord[];
  /** Ends to listen. */
  readonly close: () => void;
  /** Tells the others that this server ends, and ends to listen. */
  readonly leave: () => void;
}

/** Stand that a state of the fold is. */
export const standOf = ({ incarnation, n, position, digest }: FoldState): Stand => ({
  incarnation,
  n,
  position,
  digest,
});

/** Greater than 0 when the first position comes after the second. */
export const comparePositions = (a: InputPosition, b: InputPosition): number =>
  a.generation - b.generation || a.seq - b.seq;

interface Heard {
  readonly word: FellowWord;
  readonly bytes: Uint8Array;
  readonly atMs: number;
}

/** Listens to the other servers of a tenant. `id` is of this opening alone. */
export const createFellows = (talk: ServerTalk, clock: Clock, id: string): Fellows => {
  const heard = new Map<string, Heard>();
  const listeners = new Set<(word: FellowWord) => void>();
  const forget = (): void => {
    const nowMs = clock.nowMs();
    for (const [from, { atMs }] of heard)
      if (Math.abs(nowMs - atMs) > fellowForgottenMs) heard.delete(from);
  };
  /** A server of a quiet tenant says the same again and again: that is decoded once. */
  const knownWord = (bytes: Uint8Array): FellowWord | undefined => {
    for (const known of heard.values()) if (equalBytes(known.bytes, bytes)) return known.word;
    return decodeWord(bytes);
  };
  let saidLast: Uint8Array | undefined;
  const stop = talk.onWord((bytes) => {
    // Whoever talks hears itself: an own word that comes back at once need not be decoded.
    if (saidLast !== undefined && equalBytes(bytes, saidLast)) return;
    const word = knownWord(bytes);
    if (word === undefined || word.from === id) return;
    if (word.kind === 'leave') heard.delete(word.from);
    if (word.kind === 'place' || word.kind === 'stand') {
      forget();
      if (heard.has(word.from) || heard.size < fellowsMax)
        heard.set(word.from, { word, bytes: bytes.slice(), atMs: clock.nowMs() });
    }
    for (const listener of [...listeners]) listener(word);
  });
  const say: Fellows['say'] = (kind, { incarnation, n, position, digest }) => {
    const { generation, seq } = position;
    const place = { incarnation, n, position: { generation, seq }, digest };
    saidLast = utf8Encode(JSON.stringify({ format: wordFormat, kind, from: id, ...place }));
    talk.say(saidLast);
  };
  return {
    id,
    say,
    onWord: (callback) => {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    places: () => {
      forget();
      return [...heard.values()].map(({ word }) => word);
    },
    close: stop,
    leave: () => {
      say('leave', { incarnation: 0, n: 0, position: { generation: 0, seq: 0 }, digest: '' });
      stop();
    },
  };
};
