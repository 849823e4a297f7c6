import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { crdt } from '../convergence/memory-parts.js';
import { runBatch, type BatchResult } from './batch.js';
import { momentOf, SimContext } from './context.js';
import { drawPlan, type Plan } from './plan.js';
import { shrinkPlan } from './shrink.js';
import { simulate, type SimResult } from './simulation.js';
import { sometimes } from './sometimes.js';

/*
 * The command of the simulator.
 *
 *   --seed N                       one seed with its timeline; a failing one is shrunk
 *   --file PLAN.json               the plan of a file, as shrinking prints it
 *   --seeds COUNT [--from FIRST]   a batch
 *   --json                         the last line is the result as JSON
 *   --until-broken                 ends a batch at its first violation (used to find planted faults)
 *   --minutes M                    ends a batch after so much time
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string' },
    minutes: { type: 'string' },
    json: { type: 'boolean', default: false },
    file: { type: 'string' },
    plan: { type: 'boolean', default: false },
    'no-shrink': { type: 'boolean', default: false },
    'until-broken': { type: 'boolean', default: false },
  },
});

const numberOf = (name: string, text: string | undefined, otherwise: number): number => {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0)
    throw new Error(`--${name} needs a number, not ${text}`);
  return value;
};

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const tell = ({ seed, trace, violation, simulatedMs, traceHash }: SimResult): void => {
  for (const line of trace) print(line);
  print(`seed ${seed}: trace ${traceHash}, until ${momentOf(SimContext.startMs + simulatedMs)}`);
  if (violation !== null) print(violation.stack ?? violation.message);
};

const onePlan = async (plan: Plan): Promise<void> => {
  const result = await simulate(plan);
  if (result.violation === null || values['no-shrink']) {
    tell(result);
    if (values.plan) print(JSON.stringify(plan));
  } else {
    const shrunk = await shrinkPlan(plan, result.violation);
    print(`shrunk from ${plan.events.length} to ${shrunk.plan.events.length} events:`);
    tell(shrunk.result);
    print(JSON.stringify(shrunk.plan));
  }
  process.exitCode = result.violation === null ? 0 : 1;
};

const tellBatch = (batch: BatchResult): void => {
  for (const { seed, violation } of batch.broken)
    print(`BROKEN seed ${seed}: ${(violation?.message ?? '').slice(0, 300)}`);
  print(`${batch.seeds} seeds from ${batch.from}: ${batch.broken.length} violations`);
  print(`${batch.exact} histories held against the oracle, ${batch.repeated} seeds run twice`);
  print(
    `fewest faults in a seed ${batch.faultsMin}; faults by kind ${JSON.stringify(batch.faultKinds)}`,
  );
  print(`never seen: ${batch.sometimesMissing.join(', ') || 'nothing'} (of ${sometimes.length})`);
};

await crdt();
if (values.seed !== undefined) {
  const seed = numberOf('seed', values.seed, 1);
  print(`seed ${seed}`);
  await onePlan(drawPlan(seed));
} else if (values.file !== undefined)
  await onePlan(JSON.parse(readFileSync(values.file, 'utf8')) as Plan);
else {
  // Errors are outcomes here by the thousand: their stacks would cost more than the engine.
  Error.stackTraceLimit = 0;
  const from = numberOf('from', values.from, 1);
  print(`seeds from ${from}`);
  const batch = await runBatch({
    from,
    count: numberOf('seeds', values.seeds, 100),
    minutes: numberOf('minutes', values.minutes, Number.POSITIVE_INFINITY),
    untilBroken: values['until-broken'],
    onBroken: ({ seed, violation }) =>
      print(`seed ${seed} broke: ${violation?.message.slice(0, 200)}`),
  });
  if (!values.json) tellBatch(batch);
  else
    print(
      JSON.stringify({
        seeds: batch.seeds,
        violations: batch.broken.length,
        faults: batch.faults,
        simulatedDays: batch.simulatedDays,
        seedsPerHour: batch.seedsPerHour,
        sometimesMissing: batch.sometimesMissing,
        plantedFound: [],
      }),
    );
  process.exitCode = batch.broken.length === 0 ? 0 : 1;
}
