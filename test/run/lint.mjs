// Type-aware rules read the built declarations of other packages, so the build comes first.
import { install, runChecks } from './steps.mjs';

process.exitCode =
  install().code || ((await runChecks(['build', 'lint', 'boundaries'])).length === 0 ? 0 : 1);
