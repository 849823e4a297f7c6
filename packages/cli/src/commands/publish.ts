import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { readSchemaFile } from '../config/schema-file.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { withDesk } from '../server/open-desk.js';

const publish = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const customization = await readSchemaFile(settings);
  return withDesk(settings, {}, async (desk) => {
    const before = await desk.customization();
    const isSame = JSON.stringify(before) === JSON.stringify(customization);
    if (!isSame) await desk.publish(customization, settings.needed('user'));
    call.output.result(
      { published: !isSame, version: customization.version, before: before.version },
      () =>
        isSame
          ? `version ${customization.version} is in force already`
          : `published version ${customization.version} over ${before.version}`,
    );
    return exitCodes.ok;
  });
};

/** Adds `publish`. */
export const addPublish = (program: Command, cli: Cli): void => {
  program
    .command('publish')
    .description(
      'Publish the schema as the next customization; devices take it up with their next run.',
    )
    .action(action(cli, publish));
};
