import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import ts from 'typescript';
import { filesBelow, manifestOf, packageNames, root, textOf } from './repository.js';

interface AllowedImports {
  readonly allowed: Readonly<
    Record<string, { readonly ours: readonly string[]; readonly foreign: readonly string[] }>
  >;
}

const { allowed } = createRequire(import.meta.url)('./allowed-imports.cjs') as AllowedImports;
const scope = '@tidemark/';
const oursOf = (name: string): string[] =>
  Object.keys(manifestOf(`packages/${name}`).dependencies ?? {})
    .filter((dependency) => dependency.startsWith(scope))
    .map((dependency) => dependency.slice(scope.length))
    .sort();

const referencesOf = (folder: string): string[] => {
  const file = `${folder}/tsconfig.json`;
  const { config } = ts.parseConfigFileTextToJson(file, textOf(file)) as {
    config: { references?: readonly { readonly path: string }[] };
  };
  return (config.references ?? []).map((reference) => path.posix.basename(reference.path)).sort();
};

describe('packages', () => {
  test('the list of allowed imports names exactly the packages there are', () => {
    expect(Object.keys(allowed).sort()).toEqual(packageNames());
  });

  test.each(packageNames())('%s references what it depends on', (name) => {
    expect(referencesOf(`packages/${name}`)).toEqual(oursOf(name));
  });

  test.each(packageNames())('%s depends on nothing that it may not import', (name) => {
    const rights = allowed[name];
    const dependencies = Object.keys(manifestOf(`packages/${name}`).dependencies ?? {});
    const foreign = dependencies.filter((dependency) => !dependency.startsWith(scope));
    expect(oursOf(name).filter((other) => !rights?.ours.includes(other))).toEqual([]);
    expect(foreign.filter((other) => !rights?.foreign.includes(other))).toEqual([]);
  });

  test('the solution builds every package', () => {
    expect(referencesOf('test')).toEqual(packageNames());
  });

  test('every foreign version comes from the catalog', () => {
    const folders = ['.', 'test', 'bench', ...packageNames().map((name) => `packages/${name}`)];
    const loose = folders.flatMap((folder) => {
      const { dependencies = {}, devDependencies = {} } = manifestOf(folder);
      return Object.entries({ ...dependencies, ...devDependencies })
        .filter(
          ([name, wanted]) => wanted !== (name.startsWith(scope) ? 'workspace:*' : 'catalog:'),
        )
        .map(([name, wanted]) => `${folder}: ${name} ${wanted}`);
    });
    expect(loose).toEqual([]);
  });
});

const isExported = (node: ts.Statement): boolean =>
  ts.canHaveModifiers(node) &&
  (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);

const namesOf = (node: ts.Statement): string => {
  if (ts.isVariableStatement(node))
    return node.declarationList.declarations.map(({ name }) => name.getText()).join(', ');
  return (node as ts.DeclarationStatement).name?.getText() ?? '?';
};

/** Names of exported declarations of a file that have no documentation comment. */
const undocumentedIn = (file: string): string[] => {
  const parsed = ts.createSourceFile(file, textOf(file), ts.ScriptTarget.ES2022, true);
  const documented = new Set<string>();
  const bare: string[] = [];
  for (const node of parsed.statements) {
    if (!isExported(node) || ts.isExportDeclaration(node)) continue;
    const name = namesOf(node);
    // Overloads, and a type and value of one name, share the comment of the first.
    if (ts.getJSDocCommentsAndTags(node).length > 0) documented.add(name);
    else if (!documented.has(name)) bare.push(`${file}:${name}`);
  }
  return bare;
};

describe('declarations', () => {
  test('every export of a package has a documentation comment', () => {
    const sources = filesBelow(
      'packages',
      (file) => /\/src\/.*\.ts$/.test(file) && !/\.test(-d)?\.ts$/.test(file),
    );
    expect(sources.length).toBeGreaterThan(0);
    expect(sources.flatMap(undocumentedIn)).toEqual([]);
  });

  test('no built declaration names a type of fp-ts or io-ts', () => {
    // Built files are what users get, so they are read as they are; `npm run build` makes them.
    const built = packageNames().flatMap((name) =>
      ts.sys.readDirectory(path.join(root, 'packages', name, 'dist'), ['.d.ts']),
    );
    expect(built.length, 'nothing is built: run `npm run build` first').toBeGreaterThan(0);
    const leaking = built.filter((file) =>
      /(from\s+|import\(\s*)['"](fp-ts|io-ts)[/'"]/.test(ts.sys.readFile(file) ?? ''),
    );
    expect(leaking).toEqual([]);
  });
});
