import type { NatsPlace } from '@tidemark/node';
import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { demoUser } from '../dev/demo-user.js';
import type { RecordChange } from '../dev/record-changes.js';
import { watchSchemaFile, type SchemaChange } from '../dev/schema-watch.js';
import type { ExitCode } from '../exit-code.js';
import { showFailure } from '../failure.js';
import { cellText } from '../output.js';
import type { OpenTenant } from '../serve/tenant-host.js';
import { addServeOptions, serveWith } from './serve.js';

const problemLines = (problems: readonly { readonly path: string; readonly message: string }[]) =>
  problems.map(({ path, message }) => `  ${path}: ${message}`);

const schemaText = (change: SchemaChange, file: string): string => {
  switch (change.result) {
    case 'published':
      return `published version ${change.version} of the schema`;
    case 'same':
      return `the schema is version ${change.version}, as it is in force`;
    case 'needs-version':
      return `the schema changed, but its version ${change.version} is in force already: set it to ${change.next} to publish it`;
    case 'invalid':
      return [`${file} is no schema yet; nothing is published`]
        .concat(problemLines(change.problems))
        .join('\n');
    case 'destructive':
      return [
        'the change would take something away from devices, so it is not published:',
        ...problemLines(change.problems),
        'Keep what is there and add beside it, under new ids; or stop, remove the folders of the server and of the devices, and begin anew.',
      ].join('\n');
    case 'failed':
      return `${change.code}: ${change.message}`;
  }
};

const changeText = (table: string, { record, kind, fields }: RecordChange): string => {
  const shown = Object.entries(fields).map(([name, [before, after]]) =>
    kind === 'changed'
      ? `${name}: ${cellText(before)} > ${cellText(after)}`
      : `${name}: ${cellText(kind === 'created' ? after : before)}`,
  );
  return `${table} ${record} ${kind}${shown.length === 0 ? '' : `: ${shown.join(', ')}`}`;
};

const editSecondsMax = 3_600;

const dev = async (call: Call): Promise<ExitCode> => {
  const settings = await call.settings();
  const editMs = 1_000 * call.count('edits', 0, { min: 0, max: editSecondsMax });
  const { output } = call;
  const beside = async (_: string, { server }: OpenTenant, nats: NatsPlace) => {
    const stopping = new AbortController();
    const user = settings.needed('user');
    const file = settings.needed('schema');
    const watching = watchSchemaFile(
      settings,
      {
        customization: server.customization,
        publish: (customization) => server.publish({ customization }, { user }),
      },
      (change) => output.item({ event: 'schema', ...change }, () => schemaText(change, file)),
      stopping.signal,
    );
    const { startDemoDevice } = await import('../dev/demo-device.js');
    const endDevice = await startDemoDevice({
      settings,
      nats,
      customization: server.customization,
      editMs,
      listener: {
        onChange: (table, change) =>
          output.item({ event: 'change', table, ...change }, () => changeText(table, change)),
        onFailed: (error) => {
          const { code, message } = showFailure(error);
          output.item({ event: 'demo-device-failed', code, message }, () => `${code}: ${message}`);
        },
      },
    });
    output.item({ event: 'watching', schema: file }, () =>
      [
        `watching ${file}; changes of records are shown as they reach a demo device`,
        'Try in another terminal: tidemark device sync; tidemark device create <table> <field>=<value>',
      ].join('\n'),
    );
    return async () => {
      stopping.abort();
      await watching;
      await endDevice();
    };
  };
  return serveWith(call, settings, [settings], { beside, quietUser: demoUser });
};

/** Adds `dev`. */
export const addDev = (program: Command, cli: Cli): void => {
  addServeOptions(
    program
      .command('dev')
      .description(
        'Serve one tenant for development: publishes each change of the schema file that devices can take up, ' +
          'tells what to do about others, and shows every change of a record, with its values, as it reaches a ' +
          'demo device.',
      ),
  )
    .option(
      '--edits <seconds>',
      'lets the demo device edit a record so often; 0: never, as when left out',
    )
    .action(action(cli, dev));
};
