import { describe, test } from 'vitest';
import { natsProgram } from './nats-server.js';

/** Groups tests that need a real nats-server; without one they are skipped, named and counted. */
export const describeOnNats = describe.skipIf(natsProgram === undefined);
/** A test that needs a real nats-server; without one it is skipped, named and counted. */
export const testOnNats = test.skipIf(natsProgram === undefined);
