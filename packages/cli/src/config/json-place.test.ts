import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonPlace } from './json-place.js';

describe('the place at which a text stops to be JSON', () => {
  test.each([
    ['{"a": hunter2}', 1, 7],
    ['{\n  "user": "x",\n  "password": hunter2\n}', 3, 15],
    ['{"a": 1', 1, 8],
    ['{"a": 1,}', 1, 9],
    ['[1 2]', 1, 4],
    ['{"a" 1}', 1, 6],
    ['{"a": "x\ny"}', 1, 7],
    ['{"a": [}', 1, 8],
    ['{a: 1}', 1, 2],
    ['{} {}', 1, 4],
    ['', 1, 1],
    ['{"a": 01}', 1, 7],
  ])('[CLI-4] %j', (text, line, column) => {
    expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
    expect(jsonPlace(text)).toEqual({ line, column });
  });

  test('[CLI-4] what stands before the place may be the beginning of JSON, and a whole one ends behind it', () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.nat(),
        fc.constantFrom('hunter2', '}', ']', ','),
        (json, at, bad) => {
          expect(jsonPlace(json)).toEqual(jsonPlace(`${json}?`));
          const cut = at % (json.length + 1);
          const text = `${json.slice(0, cut)}${bad}`;
          let isJson = true;
          try {
            JSON.parse(text);
          } catch {
            isJson = false;
          }
          const { line, column } = jsonPlace(text);
          const lines = text.split('\n');
          expect(line).toBeLessThanOrEqual(lines.length);
          expect(column).toBeLessThanOrEqual((lines[line - 1] ?? '').length + 1);
          if (isJson)
            expect([line, column]).toEqual([lines.length, (lines.at(-1) ?? '').length + 1]);
        },
      ),
    );
  });
});
