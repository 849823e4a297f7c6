// Finds a nats-server once for all test files; workers read its path from their environment.
import { findNatsServer } from './run/nats-server.mjs';

export const setup = () => {
  if (process.env.TIDEMARK_NATS_SERVER !== undefined) return;
  const found = findNatsServer({ say: (line) => console.error(line) });
  if (found.missing !== undefined) {
    console.error(`${found.missing}; tests on a real nats-server are skipped`);
    return;
  }
  process.env.TIDEMARK_NATS_SERVER = found.program;
  process.env.TIDEMARK_NATS_DURABLE = found.durable ? '1' : '0';
};
