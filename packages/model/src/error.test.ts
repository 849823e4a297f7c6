import { describe, expect, test } from 'vitest';
import { errorCatalogue, type ErrorCode } from './error-codes.js';
import { InvariantViolation, invariant, problemsError, TidemarkError } from './error.js';
import { isLeft, left, right } from './result.js';

describe('[MOD-60] failures', () => {
  test('an error carries code, recovery, details and cause', () => {
    const cause = new Error('disk');
    const error = new TidemarkError('storage-unavailable', 'cannot write', { count: 3 }, cause);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      ...{ _tag: 'TidemarkError', name: 'TidemarkError', code: 'storage-unavailable' },
      ...{ recovery: 'retry-later', details: { count: 3 }, cause },
      message: 'storage-unavailable: cannot write',
    });
    expect(new TidemarkError('aborted', 'x').cause).toBeUndefined();
  });

  test('every code has a recovery, a meaning, a cause and an action', () => {
    for (const [code, entry] of Object.entries(errorCatalogue)) {
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
      for (const text of [entry.meaning, entry.cause, entry.action])
        expect(text, code).toMatch(/^[A-Z].*\.$/);
      expect(new TidemarkError(code as ErrorCode, 'x').recovery).toBe(entry.recovery);
    }
  });

  test('problems are listed with their paths', () => {
    const problems = [
      { path: 'tables[0].id', message: 'expected an integer' },
      { path: '', message: 'too large' },
    ];
    const error = problemsError('invalid-customization', problems);
    expect(error.message).toBe(
      'invalid-customization: tables[0].id: expected an integer; too large',
    );
    expect(error.details).toEqual({ problems });
  });
});

test('[MOD-61] a broken invariant throws', () => {
  expect(() => invariant(false, 'heads differ')).toThrow(InvariantViolation);
  expect(() => invariant(false, 'heads differ')).toThrow('heads differ');
  expect(() => invariant(true, 'heads differ')).not.toThrow();
});

test('[MOD-62] a result is a failure or a value, in the shape of Either', () => {
  expect(left(1)).toEqual({ _tag: 'Left', left: 1 });
  expect(right(2)).toEqual({ _tag: 'Right', right: 2 });
  expect([isLeft(left(1)), isLeft(right(2))]).toEqual([true, false]);
});
