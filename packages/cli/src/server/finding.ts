import { showFailure } from '../failure.js';

/** What a check of `doctor` found, and how to mend it. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly found: string;
  readonly mend: string | null;
}

/** Finding of a check that is content. */
export const ok = (check: string, found: string): Finding => ({
  check,
  state: 'ok',
  found,
  mend: null,
});

/** Finding of a check that had nothing to look at. */
export const skipped = (check: string, found: string): Finding => ({
  check,
  state: 'skipped',
  found,
  mend: null,
});

/** Finding of something that works and should be mended. */
export const warning = (check: string, found: string, mend: string): Finding => ({
  check,
  state: 'warning',
  found,
  mend,
});

/** Finding of a check that could not be carried out, or found what does not work. */
export const failed = (check: string, cause: unknown): Finding => {
  const { code, message, action } = showFailure(cause);
  return { check, state: 'failed', found: `${code}: ${message}`, mend: action };
};
