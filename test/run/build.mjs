import { build, install } from './steps.mjs';

process.exitCode = install().code || (await build()).code;
