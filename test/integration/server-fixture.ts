import { MemoryLevel } from 'memory-level';
import {
  defineSchema,
  field,
  openServer,
  type Server,
  type ServerEvent,
  type ServerOptions,
} from '@tidemark/server';
import type { CheckpointFolder, Clock, Link } from '@tidemark/ports';

export const schema = defineSchema({
  version: 1,
  tables: {
    places: {
      id: 1,
      scopeKey: 'region',
      indexes: {},
      fields: {
        name: field.string(1, { required: true }),
        region: field.string(2),
        size: field.number(3),
        secret: field.string(4),
        visits: field.counter(5),
        note: field.text(6),
        rank: field.number(7, { rule: 'manual' }),
      },
    },
    plain: { id: 2, fields: { title: field.string(1) } },
  },
});

export type Tables = typeof schema extends { readonly _tables?: infer T } ? NonNullable<T> : never;
export type TestServer = Server<Tables>;

export const memory = () =>
  new MemoryLevel<Uint8Array, Uint8Array>({ keyEncoding: 'view', valueEncoding: 'view' });

/** Clock that a test moves. */
export const testClock = (): Clock & { advance: (ms: number) => void } => {
  let now = 1_700_000_000_000;
  return { nowMs: () => now, advance: (ms) => (now += ms) };
};

export interface Fixture {
  readonly server: TestServer;
  readonly events: ServerEvent[];
  readonly clock: ReturnType<typeof testClock>;
  readonly link: (replica: string, user?: string) => Promise<Link>;
}

export const openFixture = async (
  more: {
    readonly checkpoints?: { readonly folder: CheckpointFolder; readonly everyOps?: number };
    readonly horizon?: { readonly days?: number; readonly bytes?: number };
    readonly prepared?: ServerOptions<Tables>['prepared'];
    readonly databases?: {
      readonly store: MemoryLevel<Uint8Array, Uint8Array>;
      readonly input: MemoryLevel<Uint8Array, Uint8Array>;
    };
    readonly cursorKey?: Uint8Array;
  } = {},
): Promise<Fixture> => {
  const events: ServerEvent[] = [];
  const clock = testClock();
  const server = await openServer({
    database: more.databases ?? { store: memory(), input: memory() },
    cursorKey: more.cursorKey ?? new Uint8Array(32).fill(7),
    tenant: 'acme',
    schema,
    clock,
    onEvent: (event) => events.push(event),
    ...(more.checkpoints === undefined ? {} : { checkpoints: more.checkpoints }),
    ...(more.horizon === undefined ? {} : { horizon: more.horizon }),
    ...(more.prepared === undefined ? {} : { prepared: more.prepared }),
  });
  return {
    server,
    events,
    clock,
    link: (replica, user = 'user-1') => server.transport.open({ tenant: 'acme', replica, user }),
  };
};

export const place = (i: number, more: Record<string, unknown> = {}) => ({
  kind: 'put' as const,
  table: 'places' as const,
  id: `p${String(i).padStart(5, '0')}`,
  fields: { name: `Place ${i}`, region: i % 3 === 0 ? 'north' : 'south', size: i, ...more },
});

/** Deterministic numbers below `max` (mulberry32). */
export const randomFrom = (seed: number): ((max: number) => number) => {
  let state = seed;
  return (max) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * max);
  };
};
