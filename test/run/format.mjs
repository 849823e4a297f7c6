// `npm run format` rewrites; `npm run format -- --check` only tells.
import { install, node, program } from './steps.mjs';

const check = process.argv.includes('--check');
process.exitCode =
  install().code ||
  (await node([program('prettier'), check ? '--check' : '--write', '--log-level', 'warn', '.']))
    .code;
