import { install } from './steps.mjs';

process.exitCode = install({ always: true }).code;
