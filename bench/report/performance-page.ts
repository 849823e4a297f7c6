import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchResult } from '../harness/result.js';
import { readResults, type Machine, type ResultsFile } from '../harness/results-file.js';
import { readPeers } from '../peers/peers-file.js';
import { growthPlot } from './growth-plot.js';
import { advice, method, suiteNotes } from './page-texts.js';
import { peersSection } from './peers-section.js';
import { targets, type Target } from './targets.js';

const docs = fileURLToPath(new URL('../../../docs/', import.meta.url));

type Cell = string | number;

const table = (head: readonly string[], rows: readonly (readonly Cell[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');

/** Three significant digits, without an exponent. */
const brief = (value: number): string =>
  Math.abs(value) >= 100 ? whole(value) : String(Number(value.toPrecision(3)));

/** Newest result of each case, transport and size. */
const newestOf = (files: readonly ResultsFile[]): readonly BenchResult[] => {
  const newest = new Map<string, { readonly one: BenchResult; readonly date: string }>();
  for (const { machine, results } of files)
    for (const one of results) {
      const key = `${one.suite}/${one.case}/${one.transport}/${one.records}`;
      const before = newest.get(key);
      if (before === undefined || before.date <= machine.date)
        newest.set(key, { one, date: machine.date });
    }
  return [...newest.values()].map(({ one }) => one);
};

const machineLine = ({ cores, processor, memoryGb, node, nats, date }: Machine): string =>
  `${cores} cores of ${processor}, ${memoryGb} GB, Node ${node}, ` +
  `${nats === null ? 'no nats-server' : `nats-server ${nats}`}, ${date}`;

/** Sizes that the targets are for. */
const targetRecords = 1_000_000;
const targetEdits = 100_000;

const greatest = (results: readonly BenchResult[]): BenchResult | undefined =>
  [...results].sort((a, b) => b.records - a.records)[0];

const targetRow = (target: Target, results: readonly BenchResult[]): readonly Cell[] => {
  const { suite, what, unit, wanted, better, of } = target;
  const ofCase = results.filter((one) => one.suite === suite && one.case === target.case);
  const one = greatest(ofCase);
  const value = one === undefined ? null : of(one, results);
  const sign = better === 'more' ? '≥' : '≤';
  const goal = `${sign} ${brief(wanted)}${unit === '' ? '' : ` ${unit}`}`;
  const name = `${suite}: ${target.case}, ${what}`;
  if (one === undefined || value === null) return [name, goal, 'not measured', '', ''];
  const isMet = better === 'more' ? value >= wanted : value <= wanted;
  const off = better === 'more' ? wanted / value : value / wanted;
  const at = suite === 'text' ? `${whole(one.moved)} edits` : whole(one.records);
  const isAtSize = suite === 'text' ? one.moved >= targetEdits : one.records >= targetRecords;
  const met = isAtSize ? 'yes' : 'at this size';
  return [name, goal, brief(value), at, isMet ? met : `no: ${brief(off)} times off`];
};

const resultRow = (one: BenchResult): readonly Cell[] => {
  const { device, server } = one.peakRssMb;
  const { cpuSeconds } = one;
  const nats = cpuSeconds.nats === null ? '' : ` / ${cpuSeconds.nats}`;
  return [
    one.case,
    whole(one.records),
    whole(one.moved),
    brief(one.seconds),
    one.moved > 1 ? whole(one.perSecond) : '',
    one.shareOfFloor === null ? '' : `${brief(one.shareOfFloor * 100)}%`,
    one.ratio === null ? '' : `${brief(1 / one.ratio.value)} × ${one.ratio.against}`,
    `${device} / ${server}`,
    `${cpuSeconds.device} / ${cpuSeconds.server}${nats}`,
    one.verified ? 'yes' : 'NO',
  ];
};

const head = [
  'case',
  'records',
  'moved',
  'seconds',
  'per s',
  'of the floor',
  'time compared',
  'MB device / server',
  'CPU s device / server / nats',
  'verified',
];

const settingsOf = (results: readonly BenchResult[]): string => {
  const lines = results.map((one) => {
    const pairs = Object.entries(one.settings).map(([name, value]) => `${name} ${value}`);
    return `${one.case}, ${whole(one.records)}: ${pairs.join(', ')}`;
  });
  return `Settings and more of each case:\n\n${lines.map((line) => `- ${line}`).join('\n')}`;
};

const section = (
  suite: string,
  all: readonly BenchResult[],
  plots: ReadonlySet<string>,
): string => {
  const results = all
    .filter((one) => one.suite === suite)
    .sort((a, b) => (a.case === b.case ? a.records - b.records : a.case < b.case ? -1 : 1));
  const plot = plots.has(suite) ? `![${suite} against N](performance/${suite}.svg)\n\n` : '';
  return `### ${suite}\n\n${suiteNotes[suite] ?? ''}\n\n${table(head, results.map(resultRow))}\n\n${plot}${settingsOf(results)}\n`;
};

const drawPlots = (suites: readonly string[], all: readonly BenchResult[]): ReadonlySet<string> => {
  const folder = path.join(docs, 'performance');
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder))
    if (name.endsWith('.svg')) rmSync(path.join(folder, name));
  const drawn = new Set<string>();
  for (const suite of suites) {
    const plot = growthPlot(all.filter((one) => one.suite === suite));
    if (plot === undefined) continue;
    writeFileSync(path.join(folder, `${suite}.svg`), plot);
    drawn.add(suite);
  }
  return drawn;
};

/** Writes `docs/performance.md` and its plots from the committed results; returns the path of the page. */
export const writePerformancePage = (): string => {
  const files = readResults();
  if (files.length === 0) throw new RangeError('there are no files in bench/results');
  const all = newestOf(files);
  const suites = [...new Set(targets.map(({ suite }) => suite))].filter((suite) =>
    all.some((one) => one.suite === suite),
  );
  const plots = drawPlots(suites, all);
  const peers = readPeers();
  const machines = [...new Set(files.map(({ machine }) => machineLine(machine)))];
  const page = [
    '# Performance',
    '',
    '<!-- Written by `node test/run/performance.mjs` from bench/results: do not edit. -->',
    '',
    method,
    '',
    'Measured on:',
    '',
    ...machines.map((line) => `- ${line}`),
    '',
    '## Targets',
    '',
    'The targets are for 1,000,000 records (text: 100,000 edits). Each is compared with the greatest size that was measured, which the table names: what is reached at a smaller one need not be at a million.',
    '',
    table(
      ['target', 'wanted', 'measured', 'at records', 'reached'],
      targets.map((target) => targetRow(target, all)),
    ),
    '',
    '## Results',
    '',
    ...suites.map((suite) => section(suite, all, plots)),
    ...(peers === undefined ? [] : [peersSection(peers)]),
    advice,
    '',
  ].join('\n');
  const file = path.join(docs, 'performance.md');
  writeFileSync(file, page);
  return file;
};
