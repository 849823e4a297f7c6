import path from 'node:path';
import ts from 'typescript';
import { filesBelow, root, textOf } from './repository.js';

/** Module made of the examples of a page. */
export interface PageExample {
  readonly page: string;
  /** Path of the module, as if it stood in test/, from where all packages resolve. Nothing is written. */
  readonly file: string;
  readonly code: string;
  /** True when it needs nothing that the page does not show. */
  readonly selfContained: boolean;
}

// A fence, or a comment that declares what the fences take for granted: <!-- ts ... -->
const part = /^```ts\n([\s\S]*?)^```$|^<!-- ts\n([\s\S]*?)^-->$/gm;

const importedNames = (code: string): string[] =>
  [...code.matchAll(/^import\s+(?:type\s+)?\{([^}]*)\}/gm)].flatMap((match) =>
    (match[1] ?? '').split(',').map((name) => name.trim()),
  );

/** Pages with examples: the front page, docs/ and those of the packages. */
export const examplePages = (): readonly string[] =>
  [
    'README.md',
    ...filesBelow('docs', (file) => file.endsWith('.md')),
    ...filesBelow('packages', (file) => /^packages\/[^/]+\/README\.md$/.test(file)),
  ].filter((page) => textOf(page).includes('```ts\n'));

/**
 * Examples of a page: its fences in order are one module. A fence that imports again what the module
 * already has begins another one.
 */
export const examplesOf = (page: string): readonly PageExample[] => {
  const modules: { code: string; declared: boolean }[] = [{ code: '', declared: false }];
  for (const [, fence, declaration] of textOf(page).matchAll(part)) {
    const code = fence ?? declaration ?? '';
    const names = importedNames(modules.at(-1)?.code ?? '');
    const repeats = importedNames(code).some((name) => name !== '' && names.includes(name));
    if (repeats) modules.push({ code: '', declared: false });
    const current = modules.at(-1) as { code: string; declared: boolean };
    current.code += `${code}\n`;
    current.declared ||= declaration !== undefined;
  }
  return modules.map(({ code, declared }, at) => ({
    page,
    file: path.join(root, 'test', `example-${page.replaceAll(/[/.]/g, '-')}-${at + 1}.ts`),
    code,
    selfContained: !declared,
  }));
};

const tsconfig = 'test/tsconfig.types.json';

/** What the strict compiler says against examples, as `page: message`, on the sources of the packages. */
export const problemsIn = (examples: readonly PageExample[]): readonly string[] => {
  const config = path.join(root, tsconfig);
  const { config: json } = ts.parseConfigFileTextToJson(config, textOf(tsconfig)) as {
    config: object;
  };
  const nothing = { ...json, include: [], files: [] };
  const parsed = ts.parseJsonConfigFileContent(nothing, ts.sys, path.dirname(config));
  const options: ts.CompilerOptions = { ...parsed.options, incremental: false };
  delete options.tsBuildInfoFile;
  const host = ts.createCompilerHost(options);
  const codes = new Map(examples.map(({ file, code }) => [file, code]));
  host.fileExists = (file) => codes.has(file) || ts.sys.fileExists(file);
  host.readFile = (file) => codes.get(file) ?? ts.sys.readFile(file);
  const program = ts.createProgram([...codes.keys()], options, host);
  return examples.flatMap(({ file, page }) => {
    const source = program.getSourceFile(file);
    if (source === undefined) return [`${page}: not read`];
    return ts.getPreEmitDiagnostics(program, source).map((one) => {
      const line =
        source.text.split('\n')[source.getLineAndCharacterOfPosition(one.start ?? 0).line];
      return `${page}: ${ts.flattenDiagnosticMessageText(one.messageText, '\n')}\n    ${line ?? ''}`;
    });
  });
};

/** Lines that an example says it prints: the comments behind its `console.log`. */
export const promisedLines = ({ code }: PageExample): readonly string[] =>
  [...code.matchAll(/^console\.log\(.*\); \/\/ (.+)$/gm)].map((match) => match[1] ?? '');
