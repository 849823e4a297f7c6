const token =
  /[ \t\r\n]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-]))/y;

/** What may stand next in a text of JSON. */
type Wanted = 'value' | 'value or ]' | 'name' | 'name or }' | ':' | ', or end';

/** Place of the first character that is no JSON; the length of the text when it ends too early. */
const wrongPlace = (text: string): number => {
  const closers: string[] = [];
  let wanted: Wanted = 'value';
  token.lastIndex = 0;
  for (;;) {
    const from = token.lastIndex;
    const found = token.exec(text);
    const gap = from + (/^[ \t\r\n]*/.exec(text.slice(from))?.[0].length ?? 0);
    if (found === null) return gap;
    const [, mark, quoted] = found;
    const isValue = wanted === 'value' || wanted === 'value or ]';
    if (mark === '{' || mark === '[') {
      if (!isValue) return gap;
      closers.push(mark === '{' ? '}' : ']');
      wanted = mark === '{' ? 'name or }' : 'value or ]';
    } else if (mark === '}' || mark === ']') {
      const mayClose =
        wanted === ', or end' || wanted === (mark === '}' ? 'name or }' : 'value or ]');
      if (!mayClose || closers.pop() !== mark) return gap;
      wanted = ', or end';
    } else if (mark === ',') {
      if (wanted !== ', or end' || closers.length === 0) return gap;
      wanted = closers.at(-1) === '}' ? 'name' : 'value';
    } else if (mark === ':') {
      if (wanted !== ':') return gap;
      wanted = 'value';
    } else if (wanted === 'name' || wanted === 'name or }') {
      if (quoted === undefined) return gap;
      wanted = ':';
    } else if (isValue) wanted = ', or end';
    else return gap;
  }
};

/** Line and column, from 1, at which a text stops to be JSON. The text itself is not told: it may hold secrets. */
export const jsonPlace = (text: string): { readonly line: number; readonly column: number } => {
  const before = text.slice(0, wrongPlace(text)).split('\n');
  return { line: before.length, column: (before.at(-1) ?? '').length + 1 };
};
