import type { Command } from 'commander';
import { Output } from './output.js';
import { buildProgram } from './program.js';

const silent = { write: () => true };

const sections = (command: Command, path: readonly string[]): readonly string[] => {
  const names = [...path, command.name()];
  const text = command.helpInformation().trimEnd();
  const inner = command.commands.filter((one) => one.name() !== 'help');
  return [
    `## ${names.join(' ')}\n\n\`\`\`text\n${text}\n\`\`\``,
    ...inner.flatMap((one) => sections(one, names)),
  ];
};

/** The page docs/cli.md: the help of every command. */
export const cliReference = (): string => {
  const program = buildProgram({
    output: new Output({ out: silent, err: silent, json: false, noColour: true }),
    cwd: '.',
    env: {},
    ask: undefined,
    signal: new AbortController().signal,
    run: () => Promise.resolve(),
  });
  return `${[
    '# The command tidemark',
    'Generated from the commands: `node test/run/write-cli-page.mjs` writes it anew. What holds for all of them\nis in the [rules](spec/cli.md); [the package](../packages/cli/README.md) has an example.',
    ...sections(program, []),
  ].join('\n\n')}\n`;
};
