import type { PeersFile } from '../peers/peers-file.js';
import { printPeers } from '../peers/table.js';
import type { PeerResult } from '../peers/workloads.js';

const about = `## Beside other engines

\`npm run bench:peers [-- ENGINE...] [--records N] [--runs R] [--json] [--save]\` installs WatermelonDB, PouchDB and RxDB by npm at
pinned versions, each into a folder of its own, and runs them and Tidemark on the same records in turns. Server and device are processes of
their own on one machine; each workload runs once in a process, so nothing is warm, as for a new user. The median of the turns
counts, of an even number the faster one in the middle.

| Workload      | What is timed                                                                                      |
| ------------- | -------------------------------------------------------------------------------------------------- |
| full sync     | a new device gets everything                                                                       |
| incremental   | it comes back after 100 records changed on the server                                              |
| offline edits | it edits 10,000 records, one field each, in the batches that suit the engine                       |
| upload        | it sends them, until the engine says that the server has them (Tidemark: until the merged receipt) |
| conflicts     | two devices edited the same field of 100 records and sync in turns until nothing changes           |

Each line is verified afterwards. Beside the seconds are the peaks of memory of both processes (without nats-server), the bytes on the
device's connections, and for conflicts what became of them. Before comparing seconds, compare what is durable: the last table tells it.`;

const aims = {
  'full sync': 4,
  upload: 4,
} as const;

/** What was aimed at: so many times the fastest rival that keeps its records, and half its memory. */
const compared = (
  { results, facts }: PeersFile,
  workload: keyof typeof aims,
): readonly string[] => {
  const of = results.filter((one) => one.workload === workload);
  const own = of.find(({ peer }) => peer === 'tidemark');
  const rivals = of
    .filter(({ peer }) => peer !== 'tidemark' && facts[peer]?.keeps !== 'nothing')
    .sort((a, b) => a.seconds - b.seconds);
  const line = (rival: PeerResult, mine: PeerResult): string =>
    `- ${workload}: ${(rival.seconds / mine.seconds).toFixed(2)} times as fast as ${rival.peer}, durable on ` +
    `${facts[rival.peer]?.keeps ?? ''} (aim: ${aims[workload]} times the fastest of them), with ` +
    `${(mine.rssMb.device / rival.rssMb.device).toFixed(2)} of its device's and ` +
    `${(mine.rssMb.server / rival.rssMb.server).toFixed(2)} of its server's memory (aim: 0.5)`;
  return own === undefined ? [] : rivals.map((rival) => line(rival, own));
};

/** The section of the page that sets Tidemark beside other engines. */
export const peersSection = (kept: PeersFile): string => {
  const { machine, runs, results, facts, skipped } = kept;
  const { cores, processor, memoryGb, node, nats, date, loadAverageMax } = machine;
  return [
    about,
    `${runs} turns on ${cores} cores of ${processor}, ${memoryGb} GB, Node ${node}, nats-server ${nats ?? 'unknown'}, ${date}, load average up to ${loadAverageMax}:`,
    [...compared(kept, 'full sync'), ...compared(kept, 'upload')].join('\n'),
    printPeers(results, facts, skipped),
    '',
  ].join('\n\n');
};
