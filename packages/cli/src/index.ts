export { runCli, type CliPlace } from './run-cli.js';
export { exitCodes, type ExitCode } from './exit-code.js';
export { cliReference } from './reference.js';
export { checkExposure } from './server/exposure.js';
export type { TextSink } from './output.js';
export { settings, type SettingName } from './config/settings.js';
export type { Setting, SettingKind } from './config/setting.js';
