import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { BenchResult } from '../harness/result.js';

const width = 760;
const height = 420;
const legendLine = 16;
const colors = [
  '#1f77b4',
  '#d62728',
  '#2ca02c',
  '#9467bd',
  '#ff7f0e',
  '#17becf',
  '#8c564b',
  '#7f7f7f',
];

const named = (records: number): string => records.toLocaleString('en-US');

/**
 * Draws how the seconds of each case of a suite grow with the records, both in powers of ten; returns SVG.
 * Undefined when fewer than two sizes were measured.
 */
export const growthPlot = (results: readonly BenchResult[]): string | undefined => {
  const sizes = [...new Set(results.map(({ records }) => records))].sort((a, b) => a - b);
  if (sizes.length < 2) return undefined;
  const cases = [...new Set(results.map((one) => one.case))];
  const lines = [...results].sort((a, b) => a.records - b.records);
  const { document } = parseHTML('<html><body></body></html>');
  const drawn = Plot.plot({
    document,
    width,
    height: height + cases.length * legendLine,
    marginLeft: 60,
    marginRight: 45,
    marginBottom: 45,
    marginTop: 30 + cases.length * legendLine,
    style: { background: 'white', color: '#222', fontSize: '12px' },
    x: { type: 'log', label: 'records', ticks: sizes, tickFormat: named, grid: true },
    y: { type: 'log', label: 'seconds', grid: true, tickFormat: (value: number) => `${value}` },
    color: { domain: cases, range: colors },
    marks: [
      Plot.line(lines, { x: 'records', y: 'seconds', z: 'case', stroke: 'case', strokeWidth: 2 }),
      Plot.dot(lines, { x: 'records', y: 'seconds', fill: 'case', r: 4 }),
      ...cases.map((name, i) =>
        Plot.text([name], {
          frameAnchor: 'top-left',
          dx: 6,
          dy: -(cases.length - i) * legendLine - 6,
          lineAnchor: 'top',
          fill: colors[i % colors.length] ?? 'black',
          fontWeight: 'bold',
          text: (one: string) => `● ${one}`,
        }),
      ),
    ],
  });
  // A file of its own names the language; a part of a page need not.
  drawn.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return `${drawn.outerHTML}\n`;
};
