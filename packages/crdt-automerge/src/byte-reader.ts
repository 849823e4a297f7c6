/** Largest number that a variable-length integer of a change may claim; Automerge counts in 32 bits. */
export const varintMax = 0xffff_ffff;

/** UndecodableError says that bytes are not what they claim to be. It never leaves this package. */
export class UndecodableError extends Error {
  readonly _tag = 'UndecodableError';
}

/** TooLargeError says that bytes would grow over a stated bound. It never leaves this package. */
export class TooLargeError extends Error {
  readonly _tag = 'TooLargeError';
}

/** ByteReader reads bytes from front to back and never past the end: it throws UndecodableError. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Position of the next byte to be read. */
  get at(): number {
    return this.#at;
  }

  /** Tells whether all bytes were read. */
  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Reads one byte. */
  byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new UndecodableError('bytes end early');
    this.#at += 1;
    return byte;
  }

  /** Reads `length` bytes, as a view on the same memory. */
  take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new UndecodableError('bytes end early');
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** Reads an unsigned LEB128 integer in its shortest form, at most `varintMax`. */
  uleb(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (value > varintMax) throw new UndecodableError('number over 32 bits');
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw new UndecodableError('number not in its shortest form');
        return value;
      }
      scale *= 128;
    }
  }

  /** Reads a signed LEB128 integer of at most 53 bits. */
  sleb(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        const signed = byte & 0x40 ? value - scale : value;
        if (!Number.isSafeInteger(signed)) throw new UndecodableError('number over 53 bits');
        return signed;
      }
      if (scale > 2 ** 56) throw new UndecodableError('number over 53 bits');
    }
  }
}

/** Writes an unsigned LEB128 integer in its shortest form. */
export const ulebBytes = (value: number): number[] => {
  const out: number[] = [];
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
  return out;
};
