import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Packages resolve to their sources through this condition, so tests need no build.
const conditions = ['@tidemark/source'];
const root = fileURLToPath(new URL('..', import.meta.url));
const setup = fileURLToPath(new URL('fast-check.setup.ts', import.meta.url));
const natsSetup = fileURLToPath(new URL('nats.setup.mjs', import.meta.url));
const ignored = ['**/node_modules/**', '**/dist/**'];

interface ProjectOptions {
  readonly name: string;
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
  readonly testTimeoutMs: number;
  /** Whether each file loads all it imports anew. Most share: the engine's modules keep no state. */
  readonly isolate?: boolean;
  /** Some of its tests need a nats-server: one is looked for, and those are skipped without. */
  readonly nats?: boolean;
}

const project = ({
  name,
  include,
  exclude = [],
  testTimeoutMs,
  isolate = false,
  nats = false,
}: ProjectOptions) => ({
  root,
  resolve: { conditions: [...conditions, 'module', 'node', 'development|production'] },
  ssr: { resolve: { conditions: [...conditions, 'node'], externalConditions: conditions } },
  test: {
    name,
    include: [...include],
    exclude: [...ignored, ...exclude],
    environment: 'node' as const,
    pool: 'forks' as const,
    maxWorkers: 2,
    isolate,
    setupFiles: [setup],
    globalSetup: nats ? [natsSetup] : [],
    // Node 20 has a WebSocket behind this flag; later ones have it anyway.
    execArgv: nats ? ['--experimental-websocket'] : [],
    testTimeout: testTimeoutMs,
    hookTimeout: testTimeoutMs,
    sequence: { shuffle: false, concurrent: false },
    allowOnly: false,
  },
});

export default defineConfig({
  root,
  test: {
    allowOnly: false,
    projects: [
      project({
        name: 'unit',
        include: ['packages/*/src/**/*.test.ts'],
        exclude: ['**/*.property.test.ts'],
        testTimeoutMs: 60_000,
      }),
      project({
        name: 'property',
        include: ['packages/*/src/**/*.property.test.ts', 'test/*/**/*.property.test.ts'],
        // A deep run ends its properties by their own limits.
        testTimeoutMs: process.env['TIDEMARK_DEEP'] === '1' ? 3_600_000 : 600_000,
      }),
      project({
        name: 'contract',
        include: ['test/contract/**/*.test.ts'],
        exclude: ['**/*.property.test.ts'],
        nats: true,
        testTimeoutMs: 60_000,
      }),
      project({
        name: 'integration',
        include: ['test/integration/**/*.test.ts'],
        exclude: ['**/*.property.test.ts'],
        nats: true,
        testTimeoutMs: 120_000,
      }),
      ...(process.env['TIDEMARK_DEEP'] === '1'
        ? [
            project({
              name: 'deep',
              include: ['test/deep/**/*.deep.ts'],
              isolate: true,
              nats: true,
              testTimeoutMs: 3_600_000,
            }),
          ]
        : []),
      project({
        name: 'tidy',
        include: ['test/tidy/**/*.test.ts'],
        isolate: true,
        testTimeoutMs: 120_000,
      }),
    ],
  },
});
