import type { Command } from 'commander';
import { destructiveChanges } from '@tidemark/model';
import { action, type Call, type Cli } from '../call.js';
import { checkSchemaFile } from '../config/schema-file.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { withDesk } from '../server/open-desk.js';

const validate = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const checked = await checkSchemaFile(settings);
  const { file } = checked;
  const against =
    call.isOn('server') && 'customization' in checked
      ? await withDesk(settings, { look: true }, async (desk) => {
          const current = await desk.customization();
          return JSON.stringify(current) === JSON.stringify(checked.customization)
            ? []
            : destructiveChanges(current, checked.customization);
        })
      : [];
  const problems = [...checked.problems, ...against];
  const customization = 'customization' in checked ? checked.customization : undefined;
  const tables = (customization?.tables ?? []).map(({ name, fields }) => ({
    name,
    fields: fields.length,
  }));
  call.output.result(
    {
      file,
      valid: problems.length === 0,
      version: customization?.version ?? null,
      tables,
      problems,
    },
    () => {
      if (problems.length === 0)
        return `${file} is valid: version ${customization?.version ?? 0}, ${tables
          .map(({ name, fields }) => `${name} (${fields} fields)`)
          .join(', ')}`;
      const lines = problems.map(
        (one) => `  ${one.path === '' ? 'schema' : one.path}: ${one.message}`,
      );
      return [`${file} has ${problems.length} problems:`, ...lines].join('\n');
    },
  );
  return problems.length === 0 ? exitCodes.ok : exitCodes.failed;
};

/** Adds `validate`. */
export const addValidate = (program: Command, cli: Cli): void => {
  program
    .command('validate')
    .description('Check the schema; tells every problem with its path.')
    .option('--server', 'also check that the server could take it over from the one in force')
    .action(action(cli, validate));
};
