import type { ServerEvent } from '@tidemark/server';
import type { Output } from '../output.js';

/** Lines of the log within a second; more are counted, and the count is told. */
export const logLinesPerSecondMax = 200;

/** Weight of a line. */
export type LogLevel = 'info' | 'warn' | 'error';
/** What a line holds beside its time: ids, codes, counts and durations, never a value of a record. */
export type LogFields = Readonly<Record<string, unknown>>;

const levels: Partial<Record<ServerEvent['type'], LogLevel>> = {
  damage: 'error',
  'fold-failed': 'error',
  'background-failed': 'warn',
  incarnation: 'warn',
  rewound: 'warn',
  'incarnation-folded': 'warn',
  'input-space': 'warn',
  refused: 'warn',
  'awaiting-checkpoint': 'warn',
  'digest-differs': 'error',
  'connection-ended': 'error',
};

const plain = (fields: LogFields): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');

const textOf = (event: ServerEvent): string => {
  const { type, ...fields } = event;
  if (event.type === 'run') {
    const { result, user, replica, uploadedOperations, downloadedBytes, durationMs } = event;
    const left = event.pendingOperations + event.parked;
    return [
      `run of ${user} (replica ${replica}): ${result}, up ${uploadedOperations} operations, down ${downloadedBytes} bytes, ${durationMs} ms`,
      ...(left === 0 ? [] : [`${event.pendingOperations} pending, ${event.parked} parked`]),
      ...(event.error === null ? [] : [event.error]),
    ].join(', ');
  }
  if (event.type === 'refused')
    return `refused ${event.endpoint} of ${event.user} (replica ${event.replica}): ${event.code}`;
  return `${type} ${plain(fields)}`;
};

/** Log of a server on the standard output: JSON lines with `--json`, lines for people without. */
export class ServerLog {
  readonly #output: Output;
  /** Whether lines for people name their tenant: with one they need not. */
  namesTenants: boolean;
  readonly #nowMs: () => number;
  #second = 0;
  #lines = 0;
  #left = 0;

  constructor(output: Output, namesTenants: boolean, nowMs: () => number = Date.now) {
    this.#output = output;
    this.namesTenants = namesTenants;
    this.#nowMs = nowMs;
  }

  /** An event of a tenant's server. */
  event(tenant: string, event: ServerEvent): void {
    const { type, ...fields } = event;
    this.tell(levels[type] ?? 'info', type, { tenant, ...fields }, () => textOf(event));
  }

  /** A line of its own. */
  tell(level: LogLevel, event: string, fields: LogFields, text?: () => string): void {
    const nowMs = this.#nowMs();
    if (!this.#mayWrite(nowMs)) return;
    this.#write(nowMs, level, event, fields, text ?? (() => `${event} ${plain(fields)}`));
  }

  #mayWrite(nowMs: number): boolean {
    const second = Math.floor(nowMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#lines = 0;
      const count = this.#left;
      this.#left = 0;
      if (count > 0)
        this.#write(nowMs, 'warn', 'lines-left-out', { count }, () => `${count} lines left out`);
    }
    this.#lines += 1;
    if (this.#lines <= logLinesPerSecondMax) return true;
    this.#left += 1;
    return false;
  }

  #write(
    nowMs: number,
    level: LogLevel,
    event: string,
    fields: LogFields,
    text: () => string,
  ): void {
    const time = new Date(nowMs).toISOString();
    const tenant = typeof fields['tenant'] === 'string' && this.namesTenants;
    this.#output.item({ time, level, event, ...fields }, () =>
      [
        time.slice(11, 19),
        ...(level === 'info' ? [] : [level.toUpperCase()]),
        ...(tenant ? [`${String(fields['tenant'])}:`] : []),
        text(),
      ].join(' '),
    );
  }
}
