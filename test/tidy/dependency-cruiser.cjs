// The drawing of the packages as rules. Run by `npm run lint`; a tidy test proves that it bites.
const { allowed, owners, pure } = require('./allowed-imports.cjs');

const escaped = (name) => name.replaceAll(/[/.@-]/g, '\\$&');
const anyOf = (names) => `(${names.map(escaped).join('|')})`;
const testFile = '\\.test\\.ts$';
const inPackage = (name) => `^packages/${escaped(name)}/src/`;
const foreign = (names) => `node_modules/${anyOf(names)}(/|$)`;

const packageRules = Object.entries(allowed).flatMap(([name, { ours, foreign: theirs }]) => [
  {
    name: `${name}-imports-ours`,
    severity: 'error',
    from: { path: inPackage(name), pathNot: testFile },
    to: { path: '^packages/', pathNot: `^packages/${anyOf([name, ...ours])}/src/` },
  },
  {
    name: `${name}-tests-import-ours`,
    severity: 'error',
    from: { path: `${inPackage(name)}.*${testFile}` },
    to: { path: '^packages/', pathNot: `^packages/${anyOf([name, ...ours, 'testkit'])}/src/` },
  },
  {
    name: `${name}-imports-foreign`,
    severity: 'error',
    from: { path: inPackage(name), pathNot: testFile },
    to: {
      path: 'node_modules/',
      ...(theirs.length === 0 ? {} : { pathNot: foreign(theirs) }),
    },
  },
]);

module.exports = {
  forbidden: [
    ...packageRules,
    ...owners.map(({ name, foreign: names, owner }) => ({
      name: `${name}-has-one-owner`,
      severity: 'error',
      from: { path: '^packages/', pathNot: inPackage(owner) },
      to: { path: foreign(names) },
    })),
    {
      name: 'pure-without-node',
      comment: 'Time, chance, storage and network come through ports.',
      severity: 'error',
      from: { path: `^packages/${anyOf(pure)}/src/`, pathNot: testFile },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'sources-do-not-import-tests',
      severity: 'error',
      from: { path: '^packages/[^/]+/src/', pathNot: testFile },
      to: { path: testFile },
    },
    {
      name: 'packages-do-not-import-test-or-bench',
      severity: 'error',
      from: { path: '^packages/' },
      to: { path: '^(test|bench)/' },
    },
    { name: 'no-cycle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|fixtures)/' },
    // Imports of types count: a type from above is a dependency upwards just as well.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@tidemark/source', 'import', 'node', 'default', 'types'],
    },
  },
};
