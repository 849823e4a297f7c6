import { toHex } from '@tidemark/model';
import type { Crypto, Entropy } from '@tidemark/ports';

/** Texts whose last author is remembered; for others the next edit takes a new actor. */
export const textLinesMax = 256;
const actorBytes = 16;

interface Line {
  readonly actor: Uint8Array;
  /** Hash of the document that the actor made last. */
  readonly made: string;
}

/**
 * Gives the actors that write text edits. An actor numbers its changes, so it may go on only from the very
 * document that it made last: on any other one (the record was made again, an edit was dropped, a
 * transaction failed) it would give a number twice, and the server could not read the second change.
 */
export class TextActors {
  readonly #crypto: Pick<Crypto, 'sha256'>;
  readonly #entropy: Entropy;
  readonly #lines = new Map<string, Line>();

  constructor(crypto: Pick<Crypto, 'sha256'>, entropy: Entropy) {
    this.#crypto = crypto;
    this.#entropy = entropy;
  }

  /** Actor for the next edit of a document; `line` names the text. */
  next(line: string, document: Uint8Array): Uint8Array {
    const known = this.#lines.get(line);
    if (known?.made === this.#hash(document)) return known.actor;
    return this.#entropy.bytes(actorBytes);
  }

  /** Notes the document that an actor made. */
  made(line: string, actor: Uint8Array, document: Uint8Array): void {
    this.#lines.delete(line);
    this.#lines.set(line, { actor, made: this.#hash(document) });
    if (this.#lines.size <= textLinesMax) return;
    for (const oldest of this.#lines.keys()) {
      this.#lines.delete(oldest);
      return;
    }
  }

  #hash(document: Uint8Array): string {
    return toHex(this.#crypto.sha256(document));
  }
}
