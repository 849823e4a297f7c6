import { mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { TidemarkError } from '@tidemark/model';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';

const configOf = (tenant: string): unknown => ({
  tenant,
  schema: 'tidemark.schema.json',
  folder: 'data/server',
  checkpoints: { folder: 'data/checkpoints', keep: 3 },
  user: 'operator',
  device: { folder: 'data/device', user: 'user-a' },
});

const schemaExample = {
  format: 1,
  version: 1,
  tables: [
    {
      id: 1,
      name: 'visits',
      fields: [
        { id: 1, name: 'subject', type: 'string', required: true, maxLength: 200 },
        {
          id: 2,
          name: 'status',
          type: 'option',
          options: ['planned', 'done', 'cancelled'],
          rule: 'manual',
        },
        { id: 3, name: 'parts', type: 'counter' },
        { id: 4, name: 'due', type: 'date' },
        { id: 5, name: 'report', type: 'text' },
      ],
      rule: 'latest-wins',
      onDelete: 'edit-wins',
      indexes: [{ name: 'byStatus', fields: ['status'] }],
    },
  ],
};

const exists = async (file: string): Promise<boolean> => {
  try {
    await stat(file);
    return true;
  } catch {
    return false;
  }
};

const init = async (call: Call): Promise<ExitCode> => {
  const folder = path.resolve(call.cli.cwd, call.optionalArg(0) ?? '.');
  const tenant = call.text('tenant') ?? 'acme';
  const files = [
    { file: path.join(folder, 'tidemark.config.json'), value: configOf(tenant) },
    { file: path.join(folder, 'tidemark.schema.json'), value: schemaExample },
  ];
  for (const { file } of files)
    if (!call.isOn('force') && (await exists(file)))
      throw new TidemarkError('invalid-option', `${file} exists; --force writes it anew`);
  await mkdir(folder, { recursive: true });
  for (const { file, value } of files) await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
  const written = files.map(({ file }) => file);
  call.output.result({ written }, () => written.map((file) => `wrote ${file}`).join('\n'));
  call.output.note('Next: `tidemark validate`, then `tidemark serve`.');
  return exitCodes.ok;
};

/** Adds `init`. */
export const addInit = (program: Command, cli: Cli): void => {
  program
    .command('init')
    .description('Write tidemark.config.json and an example of a schema into a folder.')
    .argument('[folder]', 'folder to write to; the current one when left out')
    .option('--force', 'replace files that exist')
    .action(action(cli, init));
};
