import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import { cellText, timeText } from '../output.js';
import { withDesk } from '../server/open-desk.js';

const limitDefault = 100;
const limitMax = 1_000;

const explain = async (call: Call): Promise<ExitCode> => {
  const entries = await withDesk(await call.settings(), { look: true }, (desk) =>
    desk.explain(
      call.arg(0),
      call.arg(1),
      call.optionalArg(2),
      call.count('limit', limitDefault, { min: 1, max: limitMax }),
    ),
  );
  call.output.list(
    entries,
    ['version', 'at', 'user', 'field', 'base', 'theirs', 'ours', 'result', 'rule', 'outcome', 'by'],
    (one) => [
      `${one.version.incarnation}:${one.version.n}`,
      timeText(one.at),
      one.user,
      one.field,
      cellText(one.base),
      cellText(one.theirs),
      cellText(one.ours),
      cellText(one.result),
      one.rule,
      one.outcome,
      one.decider,
    ],
    'the ledger holds no decision on it',
  );
  return exitCodes.ok;
};

/** Adds `explain`. */
export const addExplain = (program: Command, cli: Cli): void => {
  program
    .command('explain')
    .description('Tell why a record is as it is: every decision on it, oldest first.')
    .argument('<table>', 'table of the record')
    .argument('<id>', 'id of the record')
    .argument('[field]', 'one field; all when left out')
    .option('--limit <count>', `newest decisions, at most (${limitDefault} when left out)`)
    .action(action(cli, explain));
};
