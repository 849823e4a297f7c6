import { crdt } from '../convergence/memory-parts.js';
import { drawPlan } from './plan.js';
import { simulate } from './simulation.js';

const option = (name: string): number | undefined => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : Number(process.argv[at + 1]);
};
await crdt();
Error.stackTraceLimit = process.argv.includes('--seed') ? 30 : 0;
const from = option('seed') ?? option('from') ?? 1;
const count = option('seed') === undefined ? (option('seeds') ?? 10) : 1;
const begun = performance.now();
let violations = 0;
const kinds = new Map<string, number[]>();
let faults = 0;
let days = 0;
let events = 0;
for (let seed = from; seed < from + count; seed += 1) {
  const seedBegun = performance.now();
  const cpu = process.cpuUsage();
  const result = await simulate(drawPlan(seed));
  if (process.argv.includes('--each'))
    console.log(
      seed,
      result.events,
      'events',
      (performance.now() - seedBegun).toFixed(0),
      'ms',
      (process.cpuUsage(cpu).user / 1000).toFixed(0),
      'cpu ms',
      JSON.stringify([...result.seen].filter(([k]) => k.startsWith('ask') || k.startsWith('run'))),
    );
  faults += result.faults;
  days += result.simulatedMs / 86_400_000;
  events += result.events;
  if (count === 1) console.log(result.trace.join('\n'));
  if (result.violation !== null) {
    violations += 1;
    const text = (result.violation.message || '').replace(/[0-9]+/g, '#').slice(0, 70);
    kinds.set(text, [...(kinds.get(text) ?? []), seed]);
    if (count === 1) console.log(result.violation.stack);
  }
}
const seconds = (performance.now() - begun) / 1000;
for (const [text, seeds] of [...kinds].sort((a, b) => b[1].length - a[1].length))
  console.log(seeds.length, text, seeds.slice(0, 5).join(' '));
console.log({
  count,
  violations,
  faults: faults / count,
  days: days / count,
  events: events / count,
  perHour: (count / seconds) * 3600,
});
