/**
 * Maximum nesting of JSON that comes from outside: a customization takes 6 levels. Deeper JSON parses, and then
 * overflows the stack of whoever walks or prints it.
 */
export const jsonDepthMax = 64;

const quote = 0x22;
const backslash = 0x5c;

/**
 * Tells whether UTF-8 bytes of JSON nest arrays and objects deeper than `depthMax`, without parsing them. Of
 * bytes that are no JSON the answer says nothing.
 */
export const isDeepJson = (bytes: Uint8Array, depthMax: number = jsonDepthMax): boolean => {
  let depth = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === quote) {
      at += 1;
      while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
    } else if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      if (depth > depthMax) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth -= 1;
  }
  return false;
};
