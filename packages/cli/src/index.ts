export { runCli, type CliPlace } from './run-cli.js';
export { exitCodes, type ExitCode } from './exit-code.js';
export { cliReference } from './reference.js';
export { checkExposure } from './server/exposure.js';
export type { TextSink } from './output.js';
