// `npm test`: install, build, every check, the short test projects.
import { checks, conclude, install, runChecks, seconds, vitest } from './steps.mjs';

/** It takes about 7 minutes on two cores, and may take 8; only a machine that others use too is slower. */
const minutesMax = 14;
const projects = ['unit', 'property', 'contract', 'integration', 'tidy'];
const started = performance.now();

const { code } = install();
if (code !== 0) {
  conclude({ passed: 0, failures: ['install'], skipped: [] });
} else {
  const names = Object.keys(checks);
  // At least a moment, so that what comes too late is ended by its limit and named as failed.
  const leftMs = () => Math.max(1_000, minutesMax * 60_000 - (performance.now() - started));
  const failed = await runChecks(names, leftMs);
  const tests = await vitest(
    projects.flatMap((name) => ['--project', name]),
    { limitMs: leftMs() },
  );
  console.log(`\ntotal ${seconds(performance.now() - started)}`);
  conclude({
    passed: names.length - failed.length + tests.passed,
    failures: [...failed.map((name) => `check ${name}`), ...tests.failures],
    skipped: tests.skipped,
  });
}
