/* TextEncoder and TextDecoder exist in every runtime we support, but not in the ES2022 library types. */
declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new (
  label: string,
  options: { fatal: boolean; ignoreBOM: boolean },
) => { decode(bytes: Uint8Array): string };

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Lengths up to which a plain loop is several times faster than calling the runtime's coder. */
const shortTextMax = 48;
const shortBytesMax = 16;

/** Encodes text as UTF-8. Lone surrogates become U+FFFD: check `isWellFormed` first where that matters. */
export const utf8Encode = (text: string): Uint8Array => {
  const { length } = text;
  if (length > shortTextMax) return encoder.encode(text);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) return encoder.encode(text);
    bytes[i] = unit;
  }
  return bytes;
};

/** Decodes UTF-8. Throws `TypeError` on malformed input. */
export const utf8Decode = (bytes: Uint8Array): string => {
  const { length } = bytes;
  if (length > shortBytesMax) return decoder.decode(bytes);
  let text = '';
  for (let i = 0; i < length; i += 1) {
    const byte = bytes[i] as number;
    if (byte > 0x7f) return decoder.decode(bytes);
    text += String.fromCharCode(byte);
  }
  return text;
};

const anySurrogate = /[\ud800-\udfff]/;

const isPair = (unit: number, next: number): boolean =>
  unit >= 0xd800 && unit <= 0xdbff && next >= 0xdc00 && next <= 0xdfff;

/** Tells whether a string holds no lone surrogate, so that UTF-8 gives it back unchanged. */
export const isWellFormed = (text: string): boolean => {
  // Most texts hold no surrogate at all, which is told much faster.
  if (!anySurrogate.test(text)) return true;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit < 0xd800 || unit > 0xdfff) continue;
    if (!isPair(unit, text.charCodeAt(i + 1))) return false;
    i += 1;
  }
  return true;
};

/** Length in bytes of what `utf8Encode` returns, without encoding. */
export const utf8Length = (text: string): number => {
  let bytes = 0;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (isPair(unit, text.charCodeAt(i + 1))) {
      bytes += 4;
      i += 1;
    } else bytes += 3;
  }
  return bytes;
};

/** Orders byte strings as LevelDB does: by the first differing byte, then by length. */
export const compareBytes = (a: Uint8Array, b: Uint8Array): number => {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i += 1) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
};

/** Tells whether two byte strings are equal. */
export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && compareBytes(a, b) === 0;

/** Concatenates byte strings into a new one. */
export const concatBytes = (parts: readonly Uint8Array[]): Uint8Array => {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** Prints bytes as lower-case hexadecimal. */
export const toHex = (bytes: Uint8Array): string => {
  let out = '';
  for (const byte of bytes) out += HEX[byte];
  return out;
};

/** Value of a hexadecimal digit, or a negative number when there is none: it stays negative when it is shifted. */
const nibbleAt = (text: string, at: number): number => {
  const code = text.charCodeAt(at);
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : -1;
};

/** Reads lower-case hexadecimal; `undefined` when the text is not an even run of its digits. */
export const fromHex = (text: string): Uint8Array | undefined => {
  if (text.length % 2 !== 0) return undefined;
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i += 1) {
    const byte = (nibbleAt(text, 2 * i) << 4) | nibbleAt(text, 2 * i + 1);
    if (byte < 0) return undefined;
    out[i] = byte;
  }
  return out;
};

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const SEXTET = new Int16Array(128).fill(-1);
for (let i = 0; i < ALPHABET.length; i += 1) SEXTET[ALPHABET.charCodeAt(i)] = i;

const DIGIT = encoder.encode(ALPHABET);
const PAD = '='.charCodeAt(0);

/** Prints bytes as base64 with padding. */
export const toBase64 = (bytes: Uint8Array): string => {
  const out = new Uint8Array(Math.ceil(bytes.length / 3) * 4).fill(PAD);
  const whole = bytes.length - (bytes.length % 3);
  let at = 0;
  for (let i = 0; i < whole; i += 3) {
    const word =
      ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    out[at] = DIGIT[word >> 18] as number;
    out[at + 1] = DIGIT[(word >> 12) & 63] as number;
    out[at + 2] = DIGIT[(word >> 6) & 63] as number;
    out[at + 3] = DIGIT[word & 63] as number;
    at += 4;
  }
  if (whole < bytes.length) {
    const second = bytes[whole + 1];
    const word = ((bytes[whole] as number) << 16) | ((second ?? 0) << 8);
    out[at] = DIGIT[word >> 18] as number;
    out[at + 1] = DIGIT[(word >> 12) & 63] as number;
    if (second !== undefined) out[at + 2] = DIGIT[(word >> 6) & 63] as number;
  }
  return decoder.decode(out);
};

/** Digit at a position, or a negative number when there is none: it stays negative when it is shifted and combined. */
const sextetAt = (text: string, at: number): number => {
  const code = text.charCodeAt(at);
  return code < 128 ? (SEXTET[code] as number) : -1;
};

/** Reads padded base64; `undefined` unless the text is exactly what `toBase64` prints. */
export const fromBase64 = (text: string): Uint8Array | undefined => {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  const whole = padding === 0 ? text.length : text.length - 4;
  let at = 0;
  for (let i = 0; i < whole; i += 4) {
    const word =
      (sextetAt(text, i) << 18) |
      (sextetAt(text, i + 1) << 12) |
      (sextetAt(text, i + 2) << 6) |
      sextetAt(text, i + 3);
    if (word < 0) return undefined;
    out[at] = word >> 16;
    out[at + 1] = word >> 8;
    out[at + 2] = word;
    at += 3;
  }
  if (padding === 0) return out;
  const third = padding === 1 ? sextetAt(text, whole + 2) : 0;
  const word = (sextetAt(text, whole) << 18) | (sextetAt(text, whole + 1) << 12) | (third << 6);
  // Bits behind the last byte must be 0: every value has one form.
  if (word < 0 || (word & (padding === 2 ? 0xffff : 0xff)) !== 0) return undefined;
  out[at] = word >> 16;
  if (padding === 1) out[at + 1] = word >> 8;
  return out;
};

/** Hash is a synchronous SHA-256: 32 bytes for any input. */
export type Hash = (bytes: Uint8Array) => Uint8Array;
