import type { Command } from 'commander';
import { action, type Call, type Cli } from '../call.js';
import { exitCodes, type ExitCode } from '../exit-code.js';
import type { Finding } from '../server/finding.js';
import { checkAll } from '../server/health-checks.js';

const marks: Readonly<Record<Finding['state'], string>> = {
  ok: 'ok  ',
  warning: 'WARN',
  failed: 'FAIL',
  skipped: '-   ',
};

const lines = (finding: Finding): readonly string[] => [
  `${marks[finding.state]} ${finding.check}: ${finding.found}`,
  ...(finding.mend === null ? [] : [`     ${finding.mend}`]),
];

const doctor = async (call: Call): Promise<ExitCode> => {
  const findings = await checkAll({ call, nowMs: Date.now() });
  call.output.result({ healthy: findings.every(({ state }) => state !== 'failed'), findings }, () =>
    findings.flatMap(lines).join('\n'),
  );
  if (findings.some(({ state }) => state === 'failed')) return exitCodes.failed;
  return findings.some(({ state }) => state === 'warning') ? exitCodes.partly : exitCodes.ok;
};

/** Adds `doctor`. */
export const addDoctor = (program: Command, cli: Cli): void => {
  program
    .command('doctor')
    .description(
      'Check Node, configuration, schema, disk, store, checkpoints, identities, credentials, NATS and clock; says how to mend what is ' +
        'wrong. Ends with 3 for warnings, 1 for failures.',
    )
    .action(action(cli, doctor));
};
