import { isDeepJson } from '@tidemark/model';
import type { SeededRandom } from '../convergence/seeded-random.js';

/** Longest mutant, bytes: decoders must refuse greater ones by their length alone. */
export const mutantBytesMax = 256 * 1024;
/** Depth of nesting that a mutant may get. */
const nestingMax = 20_000;
const mutationsMax = 4;

/** Numbers that lengths and counts are replaced by, as big-endian bytes. */
const lengths: readonly (readonly number[])[] = [
  [0, 0, 0, 0],
  [0, 0, 0, 1],
  [0x7f, 0xff, 0xff, 0xff],
  [0x80, 0, 0, 0],
  [0xff, 0xff, 0xff, 0xff],
  [0, 0x20, 0, 0, 0, 0, 0, 0],
  [0xff, 0xff],
  [0, 0],
];

/** Texts that a token of JSON is replaced by. */
const tokens: readonly string[] = [
  'null',
  'true',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e999',
  '-1e999',
  '2147483648',
  '4294967296',
  '9007199254740992',
  '18446744073709551616',
  'NaN',
  '""',
  '"\\ud800"',
  '"\\u0000"',
  '"__proto__"',
  '"constructor"',
  '[]',
  '{}',
  '[[]]',
  '{"__proto__":{"polluted":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  '{"toString":1,"valueOf":1,"length":-1}',
  '[null]',
];

const token = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[[\]{},:]/g;
const ascii = new TextDecoder('latin1');

/** Bytes of a text whose characters are bytes. */
const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (one) => one.charCodeAt(0));

const spliced = (bytes: Uint8Array, at: number, most: number, more: Uint8Array): Uint8Array => {
  const remove = Math.min(most, bytes.length - at);
  const out = new Uint8Array(bytes.length - remove + more.length);
  out.set(bytes.subarray(0, at));
  out.set(more, at);
  out.set(bytes.subarray(at + remove), at + more.length);
  return out;
};

type Mutation = (bytes: Uint8Array, random: SeededRandom, other: Uint8Array) => Uint8Array;

const range = (bytes: Uint8Array, random: SeededRandom): readonly [from: number, to: number] => {
  const from = random.below(bytes.length + 1);
  const to = from + random.below(Math.min(64, bytes.length - from) + 1);
  return [from, to];
};

const replaceToken: Mutation = (bytes, random) => {
  const text = ascii.decode(bytes);
  const found = [...text.matchAll(token)];
  if (found.length === 0) return bytes;
  const one = random.pick(found);
  const at = one.index;
  const roll = random.below(10);
  const before = one[0];
  const after =
    roll < 6
      ? random.pick(tokens)
      : roll < 7
        ? ''
        : roll < 8
          ? `${before},${before}`
          : roll < 9
            ? random.pick(found)[0]
            : `${'['.repeat(random.below(nestingMax))}${before}`;
  return spliced(bytes, at, before.length, bytesOf(after));
};

const mutations: readonly Mutation[] = [
  (bytes, random) => {
    if (bytes.length === 0) return bytes;
    const out = bytes.slice();
    const at = random.below(bytes.length);
    out[at] = (out[at] as number) ^ (1 << random.below(8));
    return out;
  },
  (bytes, random) => {
    if (bytes.length === 0) return bytes;
    const out = bytes.slice();
    out[random.below(bytes.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff, 0x22, 0x5b, 0x7b]);
    return out;
  },
  (bytes, random) => bytes.slice(0, random.below(bytes.length + 1)),
  (bytes, random) => bytes.slice(random.below(Math.min(8, bytes.length) + 1)),
  (bytes, random) => {
    const [from, to] = range(bytes, random);
    return spliced(bytes, from, to - from, new Uint8Array(0));
  },
  (bytes, random) => {
    const [from, to] = range(bytes, random);
    return spliced(bytes, from, 0, bytes.slice(from, to));
  },
  (bytes, random) => {
    const [from, to] = range(bytes, random);
    const cut = spliced(bytes, from, to - from, new Uint8Array(0));
    return spliced(cut, random.below(cut.length + 1), 0, bytes.slice(from, to));
  },
  (bytes, random) =>
    spliced(bytes, random.below(bytes.length + 1), 0, random.bytes(1 + random.below(12))),
  (bytes, random) => {
    const length = Uint8Array.from(random.pick(lengths));
    const at = random.below(Math.max(1, bytes.length - length.length));
    return spliced(bytes, at, Math.min(length.length, bytes.length - at), length);
  },
  // A variable-length integer that is longer than it needs to be, or never ends.
  (bytes, random) => {
    const overlong = new Uint8Array(1 + random.below(12)).fill(random.pick([0x80, 0xff]));
    const ended = spliced(
      overlong,
      overlong.length,
      0,
      random.chance(70) ? Uint8Array.of(0) : overlong,
    );
    return spliced(bytes, random.below(bytes.length + 1), random.below(2), ended);
  },
  (bytes, random, other) => {
    const [from, to] = range(other, random);
    return spliced(bytes, random.below(bytes.length + 1), 0, other.slice(from, to));
  },
  (bytes, random, other) => {
    const at = random.below(bytes.length + 1);
    return spliced(bytes.slice(0, at), at, 0, other.slice(random.below(other.length + 1)));
  },
  replaceToken,
  replaceToken,
  replaceToken,
  replaceToken,
  replaceToken,
];

/** Value of JSON bytes; undefined where they are none. */
export const jsonOf = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
};

/** Stands for a token until the JSON is written: tokens need not be values of JavaScript. */
const placeholder = '\u{f0000}token';

interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

const placesOf = (root: Record<string, unknown>): readonly Place[] => {
  const places: Place[] = [];
  const open = [root];
  for (let holder = open.pop(); holder !== undefined; holder = open.pop())
    for (const key of Object.keys(holder)) {
      places.push({ holder, key });
      const value = holder[key];
      if (typeof value === 'object' && value !== null) open.push(value as Record<string, unknown>);
    }
  return places;
};

/** Changes one place of a JSON value: what comes out is JSON, and mostly of the same shape elsewhere. */
const changeJson = (json: unknown, random: SeededRandom): Uint8Array => {
  const root = { json };
  const places = placesOf(root);
  const { holder, key } = random.pick(places);
  let token = random.pick(tokens);
  const roll = random.below(20);
  if (roll < 11) holder[key] = placeholder;
  else if (roll < 13) {
    if (Array.isArray(holder)) holder.splice(Number(key), 1);
    else delete holder[key];
  } else if (roll < 15) {
    if (Array.isArray(holder)) holder.splice(Number(key), 0, holder[Number(key)]);
    else holder[`${key}${key}`] = holder[key];
  } else if (roll < 18) {
    const other = random.pick(places);
    // By value: a place must not come to lie within itself.
    const [a, b] = [holder[key], other.holder[other.key]].map((one) => structuredClone(one));
    holder[key] = b;
    if (random.chance(50)) other.holder[other.key] = a;
  } else if (roll < 19) {
    const depth = random.below(nestingMax);
    token = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    holder[key] = placeholder;
  } else {
    holder[key] = 'x'.repeat(random.below(100_000));
  }
  const text = JSON.stringify(root.json) ?? '';
  return new TextEncoder().encode(text.replace(`"${placeholder}"`, () => token));
};

/** Bytes made from valid ones by one to a few changes; `other` are valid ones, too. */
export const mutate = (bytes: Uint8Array, other: Uint8Array, random: SeededRandom): Uint8Array => {
  if (random.chance(60)) {
    const json = jsonOf(bytes);
    if (json !== undefined && !isDeepJson(bytes)) return changeJson(json, random);
  }
  let out = bytes;
  const count = 1 + random.below(mutationsMax);
  for (let i = 0; i < count; i += 1) {
    const { length } = out;
    // A replacement may remove more than is there.
    const next = random.pick(mutations)(out, random, other);
    out = next.length > mutantBytesMax ? out.subarray(0, length) : next;
  }
  return out;
};
