import { checkDevices, checkOracle, checkVerdicts } from './checks.js';
import { History, type HistoryShape } from './history.js';
import { checkCheckpoint, checkDuplicates, checkOtherWindows } from './refold.js';
import { SeededRandom } from './seeded-random.js';
import { World, type Device } from './world.js';

/** What one history did. */
export interface HistoryResult {
  readonly digest: string;
  readonly trace: readonly string[];
  readonly operations: number;
  readonly syncErrors: number;
}

/** A history that broke a law, with the line that repeats it. */
export class BrokenHistory extends Error {}

/** What is said of a device between two steps is true, whatever is under way. */
const checkStatus = (world: World, device: Device): void => {
  const { status } = device.replica;
  const { lastIndex } = device.local.logEnd();
  const { mergedTo } = device.local.meta();
  const fail = (what: string): never => {
    throw new Error(`${device.name}: status says ${what}: ${JSON.stringify(status)}`);
  };
  if (status.phase !== 'idle') fail('a run is under way, and there is none');
  if (status.pending.operations !== lastIndex - mergedTo) fail('a wrong number of pending');
  if ((status.pending.oldestAt === null) !== (status.pending.operations === 0)) fail('a wrong age');
  if (status.synced && (mergedTo < lastIndex || status.parked > 0)) fail('synced, and is not');
  const { incarnation, n } = world.merger.state();
  if (status.incarnation === incarnation && device.local.meta().version > n)
    fail('it saw a version that is not there');
};

/**
 * Runs one history from a seed: edits, runs, faults; then quiet, then every check. Throws BrokenHistory
 * with the seed and the trace.
 */
export const runHistory = async (seed: number, shape: HistoryShape): Promise<HistoryResult> => {
  const random = new SeededRandom(seed);
  const world = new World(random.fork());
  const history = new History(world, random.fork(), shape);
  const refolds = random.fork();
  history.afterStep = () => {
    for (const device of world.devices) checkStatus(world, device);
  };
  try {
    await history.run();
    await history.quiesce();
    await checkDevices(world);
    await checkVerdicts(history);
    await checkOracle(history);
    const messages = await world.messages();
    await checkOtherWindows(world, messages, refolds);
    await checkCheckpoint(world, messages, refolds);
    await checkDuplicates(world, messages, refolds);
    const { digest, counts } = world.merger.state();
    await world.close();
    return {
      digest,
      trace: history.facts.trace,
      operations: counts.operations,
      syncErrors: counts.syncErrors,
    };
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    const repeat =
      `TIDEMARK_SEED=${seed} TIDEMARK_SHAPE='${JSON.stringify(shape)}' npx vitest run ` +
      `--config test/vitest.config.ts test/integration/convergence.test.ts -t 'one seed'`;
    const trace = history.facts.trace.join('\n');
    throw new BrokenHistory(`${reason}\n\n${trace}\n\nseed ${seed}: ${repeat}`, { cause });
  }
};
