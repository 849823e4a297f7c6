import { expect, test } from 'vitest';
import { compileLike, isLikePattern, likePrefix } from './like-pattern.js';

test.each([
  ['Beograd', '%grad%', true],
  ['Beograd', '%Grad%', false],
  ['', '', true],
  ['', '%', true],
  ['', '_', false],
  ['a', '', false],
  ['abc', 'a_c', true],
  ['abc', 'a%c', true],
  ['ac', 'a_c', false],
  ['aXbXc', 'a%b%c', true],
  ['aba', 'ab%ba', false],
  ['abab', '%ab', true],
  ['100%', '100\\%', true],
  ['1000', '100\\%', false],
  ['a_b', 'a\\_b', true],
  ['a\\b', 'a\\\\b', true],
  ['😀', '_', true],
  ['x😀', '%_', true],
  ['😀😀', '_', false],
  ['😀x', '%_x', true],
  ['aab', '%_b', true],
  ['ab', '%a_b', false],
  ['xayb', '%a_b', true],
  ['aaab', '%a_b%', true],
  ['line\nbreak', 'line%break', true],
])('[FLT-10] %j like %j is %s', (text, pattern, expected) => {
  expect(compileLike(pattern)(text)).toBe(expected);
});

test('[FLT-10] a dangling or needless backslash is no pattern', () => {
  expect(['\\', 'a\\b', 'a\\', '\\\\', '\\%\\_'].map(isLikePattern)).toEqual([
    false,
    false,
    false,
    true,
    true,
  ]);
});

test('[FLT-10] the prefix of a pattern ends at its first wildcard', () => {
  expect(['ab%', '\\%a_b', '%a', 'abc'].map(likePrefix)).toEqual(['ab', '%a', '', 'abc']);
});

test('[FLT-10] a pattern that makes backtracking matchers explode ends at once', () => {
  const matches = compileLike('%a_'.repeat(80) + 'b');
  expect(matches('a'.repeat(60_000))).toBe(false);
});
