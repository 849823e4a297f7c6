/**
 * SQL `like` patterns: `%` matches any run of characters, `_` one character (code point), a backslash
 * takes the following `%`, `_` or backslash literally. Case-sensitive; the whole text must match.
 *
 * Segments between `%` are found leftmost first, which is enough: a later start never helps. So there is
 * no backtracking over `%`; the cost is at most text length x pattern length, and patterns are bounded.
 */
interface Segment {
  /** Code points to find; `null` stands for any one. */
  readonly points: readonly (string | null)[];
  /** The segment as text when it has no `_`: then the engine's own search is used. */
  readonly plain: string | null;
}

/** LikeMatcher tells whether a text matches the compiled pattern. */
export type LikeMatcher = (text: string) => boolean;

/** Tells whether every backslash of a pattern escapes `%`, `_` or a backslash. */
export const isLikePattern = (pattern: string): boolean => {
  for (let i = 0; i < pattern.length; i += 1) {
    if (pattern[i] !== '\\') continue;
    i += 1;
    const next = pattern[i];
    if (next !== '%' && next !== '_' && next !== '\\') return false;
  }
  return true;
};

/** Compiles a valid `like` pattern. */
export const compileLike = (pattern: string): LikeMatcher => {
  const segments = segmentsOf(pattern);
  const first = segments[0] as Segment;
  if (segments.length === 1) {
    return first.plain !== null
      ? (text) => text === first.plain
      : (text) => matchAt(text, 0, first) === text.length;
  }
  const last = segments[segments.length - 1] as Segment;
  const middle = segments.slice(1, -1).filter((segment) => segment.points.length > 0);
  return (text) => {
    let at = matchAt(text, 0, first);
    if (at < 0) return false;
    for (const segment of middle) {
      at = findFrom(text, at, segment);
      if (at < 0) return false;
    }
    const start = stepBack(text, last);
    return start >= at && matchAt(text, start, last) === text.length;
  };
};

/** Literal text that every match starts with; empty when the pattern starts with a wildcard. */
export const likePrefix = (pattern: string): string => {
  const { points } = segmentsOf(pattern)[0] as Segment;
  const wildcard = points.indexOf(null);
  return (wildcard < 0 ? points : points.slice(0, wildcard)).join('');
};

const segmentsOf = (pattern: string): readonly Segment[] => {
  const segments: Segment[] = [];
  let points: (string | null)[] = [];
  const close = (): void => {
    segments.push({ points, plain: points.includes(null) ? null : points.join('') });
    points = [];
  };
  let escaped = false;
  for (const point of pattern) {
    if (escaped) {
      points.push(point);
      escaped = false;
    } else if (point === '\\') escaped = true;
    else if (point === '%') close();
    else points.push(point === '_' ? null : point);
  }
  close();
  return segments;
};

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** Units of the code point at `at`, which is within the text. */
const unitsAt = (text: string, at: number): number =>
  isHigh(text.charCodeAt(at)) && isLow(text.charCodeAt(at + 1)) ? 2 : 1;

/** End of the segment when it matches at `at`, else -1. */
const matchAt = (text: string, at: number, segment: Segment): number => {
  if (segment.plain !== null) {
    return text.startsWith(segment.plain, at) ? at + segment.plain.length : -1;
  }
  let end = at;
  for (const point of segment.points) {
    if (end >= text.length) return -1;
    if (point === null) end += unitsAt(text, end);
    else if (text.startsWith(point, end)) end += point.length;
    else return -1;
  }
  return end;
};

/** End of the leftmost match at or after `at`, else -1. */
const findFrom = (text: string, at: number, segment: Segment): number => {
  if (segment.plain !== null) {
    const found = text.indexOf(segment.plain, at);
    return found < 0 ? -1 : found + segment.plain.length;
  }
  for (let start = at; start < text.length; start += unitsAt(text, start)) {
    const end = matchAt(text, start, segment);
    if (end >= 0) return end;
  }
  return -1;
};

/** Where a match of the segment must start to end with the text; -1 when the text is too short. */
const stepBack = (text: string, segment: Segment): number => {
  if (segment.plain !== null) return text.length - segment.plain.length;
  let at = text.length;
  for (let i = 0; i < segment.points.length; i += 1) {
    if (at <= 0) return -1;
    at -= at >= 2 && isLow(text.charCodeAt(at - 1)) && isHigh(text.charCodeAt(at - 2)) ? 2 : 1;
  }
  return at;
};
