import type { PeerFacts } from './roles.js';
import type { PeerResult } from './workloads.js';

const mb = (bytes: number): string => (bytes / 1024 / 1024).toFixed(2);
const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;

/** Results side by side, as Markdown. */
export const printPeers = (
  results: readonly PeerResult[],
  facts: Readonly<Record<string, PeerFacts>>,
  skipped: Readonly<Record<string, string>>,
): string => {
  const workloads = [...new Set(results.map(({ workload }) => workload))];
  const lines: string[] = [];
  for (const workload of workloads) {
    const shown = results.filter((one) => one.workload === workload);
    const [first] = shown;
    lines.push(`**${workload}**, ${first?.moved ?? 0} of ${first?.records ?? 0} records`, '');
    lines.push(
      row(['Engine', 'Seconds', 'Per second', 'Device MB', 'Server MB', 'Wire MB', 'Verified']),
      row(['---', '---:', '---:', '---:', '---:', '---:', '---']),
    );
    for (const { peer, version, seconds, perSecond, rssMb, wireBytes, verified } of shown)
      lines.push(
        row([
          `${peer} ${version}`,
          ...[seconds, perSecond, rssMb.device, rssMb.server, mb(wireBytes)],
          verified ? 'yes' : 'NO',
        ]),
      );
    lines.push('');
    for (const { peer, outcome } of shown)
      if (outcome !== undefined) lines.push(`- ${peer}: ${outcome}`);
    if (shown.some(({ outcome }) => outcome !== undefined)) lines.push('');
  }
  lines.push(
    row(['Engine', 'Durable on the device', 'Durable on the server', 'On conflict', 'Settings']),
    row(['---', '---', '---', '---', '---']),
  );
  for (const [peer, one] of Object.entries(facts))
    lines.push(row([peer, one.durableDevice, one.durableServer, one.onConflict, one.settings]));
  for (const [peer, why] of Object.entries(skipped)) lines.push('', `${peer} was skipped: ${why}`);
  return lines.join('\n');
};
