import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesBelow, root, textOf } from './repository.js';

const rule = /^- \*\*([A-Z]{3}-\d+[a-z]?)\*\*/gm;
const carried = /\[([A-Z]{3}-\d+[a-z]?(?:\s*,\s*[A-Z]{3}-\d+[a-z]?)*)\]/g;
const all = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].flatMap((match) => (match[1] ?? '').split(/\s*,\s*/));

const rules = filesBelow('docs/spec', (file) => file.endsWith('.md')).flatMap((file) =>
  all(textOf(file), rule).map((id) => ({ id, file })),
);

// Titles may stand in contract suites (packages/testkit) as well as in test files.
const titleFiles = [
  ...filesBelow('packages', (file) => file.endsWith('.test.ts')),
  ...filesBelow('packages/testkit/src', (file) => file.endsWith('.ts')),
  ...filesBelow(
    'test',
    (file) => /\.(test|deep)\.ts$/.test(file) && !file.startsWith('test/tidy/'),
  ),
];
const titles = titleFiles.flatMap((file) => all(textOf(file), carried).map((id) => ({ id, file })));

describe('specification', () => {
  test('every rule has one place', () => {
    const seen = new Map<string, string>();
    const twice: string[] = [];
    for (const { id, file } of rules) {
      const before = seen.get(id);
      if (before !== undefined) twice.push(`${id} in ${before} and ${file}`);
      seen.set(id, file);
    }
    expect(twice).toEqual([]);
  });

  test('every rule is carried by a test title', () => {
    const ids = new Set(titles.map(({ id }) => id));
    expect(rules.filter(({ id }) => !ids.has(id)).map(({ id, file }) => `${id} (${file})`)).toEqual(
      [],
    );
  });

  test('every id in a test title is a rule', () => {
    const ids = new Set(rules.map(({ id }) => id));
    const unknown = titles
      .filter(({ id }) => !ids.has(id))
      .map(({ id, file }) => `${id} (${file})`);
    expect([...new Set(unknown)]).toEqual([]);
  });
});

const headingAnchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[`*]/g, '')
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-');

describe('documents', () => {
  test('every relative link and anchor leads somewhere', () => {
    const pages = filesBelow('', (file) => file.endsWith('.md') && !file.includes('/fixtures/'));
    expect(pages.length).toBeGreaterThan(0);
    const broken: string[] = [];
    for (const page of pages) {
      const prose = textOf(page).replaceAll(/```[\s\S]*?```/g, '');
      for (const match of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
        const link = match[1] ?? '';
        if (/^[a-z]+:/.test(link)) continue;
        const [target = '', anchor] = link.split('#');
        const file = target === '' ? page : path.posix.join(path.posix.dirname(page), target);
        if (!existsSync(path.join(root, file))) broken.push(`${page}: ${link}`);
        else if (anchor !== undefined && file.endsWith('.md')) {
          const anchors = [...textOf(file).matchAll(/^#+\s+(.+)$/gm)].map((heading) =>
            headingAnchor(heading[1] ?? ''),
          );
          if (!anchors.includes(anchor)) broken.push(`${page}: ${link}`);
        }
      }
    }
    expect(broken).toEqual([]);
  });

  test('every package has a page of at most 80 lines', () => {
    const pages = filesBelow('packages', (file) => /^packages\/[^/]+\/README\.md$/.test(file));
    const packages = filesBelow('packages', (file) =>
      /^packages\/[^/]+\/package\.json$/.test(file),
    );
    expect(pages.length).toBe(packages.length);
    expect(pages.filter((file) => textOf(file).split('\n').length > 81)).toEqual([]);
  });
});
