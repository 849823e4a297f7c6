// Reads packed packages (.tgz) and tells what is wrong inside: plain Node without dependencies.
import { builtinModules } from 'node:module';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';

const blockBytes = 512;
const textAt = (bytes, from, length) =>
  bytes
    .subarray(from, from + length)
    .toString('utf8')
    .replace(/\0.*$/s, '');

/** Files of a gzipped tar as a map from path (below the archive's one folder) to bytes. */
export const filesOf = (packed) => {
  const bytes = gunzipSync(packed);
  const files = new Map();
  let longName;
  for (let at = 0; at + blockBytes <= bytes.length && bytes[at] !== 0;) {
    const size = Number.parseInt(textAt(bytes, at + 124, 12).trim() || '0', 8);
    const type = String.fromCharCode(bytes[at + 156]);
    const content = bytes.subarray(at + blockBytes, at + blockBytes + size);
    const prefix = textAt(bytes, at + 345, 155);
    const name = longName ?? `${prefix === '' ? '' : `${prefix}/`}${textAt(bytes, at, 100)}`;
    longName = undefined;
    // A long name is in a record of its own before the file (POSIX pax).
    if (type === 'x') longName = /\d+ path=(.*)\n/.exec(content.toString('utf8'))?.[1];
    else if (type === '0' || type === '\0') files.set(name.replace(/^[^/]+\//, ''), content);
    at += blockBytes * (1 + Math.ceil(size / blockBytes));
  }
  return files;
};

const builtins = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
// A quote before `from` makes it a text of the program.
const importOf = /(?:(?<!['"])\bfrom\s*|\bimport\s*\(\s*|^import\s+)(['"])([^'"\n]+)\1/gm;
const packageOf = (specifier) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** Foreign packages that a built file imports. Comments do not count: examples stand in them. */
const importsOf = (text) =>
  [...text.replaceAll(/^\s*(\/\*\*?[\s\S]*?\*\/|\/\/.*$)/gm, '').matchAll(importOf)]
    .map((match) => match[2])
    .filter((specifier) => !specifier.startsWith('.') && !builtins.has(specifier))
    .map(packageOf);

const manifestProblems = (manifest, { name, version }) => {
  const problems = [];
  const wants = (holds, problem) => {
    if (!holds) problems.push(`package.json: ${problem}`);
  };
  wants(manifest.name === name, `name is ${manifest.name}`);
  wants(manifest.version === version, `version is ${manifest.version}, not ${version}`);
  wants(manifest.private === undefined, 'is private');
  wants(manifest.license === 'Apache-2.0', 'has no licence');
  wants(manifest.engines?.node !== undefined, 'names no engines');
  wants(manifest.type === 'module', 'is not of type module');
  wants(manifest.sideEffects !== undefined, 'does not tell about sideEffects');
  for (const field of ['dependencies', 'peerDependencies', 'optionalDependencies'])
    for (const [dependency, wanted] of Object.entries(manifest[field] ?? {})) {
      wants(/^[\^~]?\d/.test(wanted), `${dependency} is ${wanted}`);
      if (dependency.startsWith('@tidemark/'))
        wants(wanted === version, `${dependency} is ${wanted}, not exactly ${version}`);
    }
  for (const [entry, conditions] of Object.entries(manifest.exports ?? {})) {
    const names = Object.keys(conditions).join(', ');
    wants(names === 'types, default', `exports["${entry}"] has ${names}, not types, default`);
  }
  wants(manifest.exports?.['.'] !== undefined, 'exports nothing');
  return problems;
};

const mapProblems = (files, name) => {
  const map = `${name}.map`;
  if (!files.has(map)) return [`${name}: has no map`];
  const { sources, sourceRoot = '' } = JSON.parse(files.get(map).toString('utf8'));
  return sources
    .map((source) => path.posix.join(path.posix.dirname(map), sourceRoot, source))
    .filter((source) => !files.has(source))
    .map((source) => `${map}: its source ${source} is missing`);
};

const importProblems = (files, manifest) => {
  const declared = new Set([
    manifest.name,
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.peerDependencies ?? {}),
  ]);
  const problems = [];
  for (const [name, bytes] of files) {
    if (!/^dist\/.*\.(js|d\.ts)$/.test(name)) continue;
    for (const foreign of importsOf(bytes.toString('utf8'))) {
      if (!declared.has(foreign)) problems.push(`${name}: ${foreign} is not a dependency`);
      if (name.endsWith('.d.ts') && /^(fp-ts|io-ts)$/.test(foreign))
        problems.push(`${name}: shows a type of ${foreign}`);
    }
  }
  return problems;
};

const allowedFile = /^(package\.json|README\.md|LICENSE|(bin|dist|src)\/.+)$/;
const unwantedFile = /\.tsbuildinfo$|\.test(-d)?\.|(^|\/)(node_modules|fixtures)\//;

/** What is wrong with a packed package, as lines; none when it may be published as it is. */
export const problemsIn = (files, expected) => {
  const manifest = JSON.parse(files.get('package.json').toString('utf8'));
  const problems = manifestProblems(manifest, expected);
  for (const name of ['README.md', 'LICENSE'])
    if (!files.has(name)) problems.push(`${name} is missing`);
  const targets = [
    ...Object.values(manifest.exports ?? {}).flatMap((conditions) => Object.values(conditions)),
    ...Object.values(manifest.bin ?? {}),
  ].map((target) => target.replace(/^\.\//, ''));
  for (const target of targets)
    if (!files.has(target)) problems.push(`package.json names ${target}, which is missing`);
  for (const name of files.keys()) {
    if (!allowedFile.test(name) || unwantedFile.test(name))
      problems.push(`${name} does not belong into a package`);
    if (!/^dist\/.*\.(js|d\.ts)$/.test(name)) continue;
    // The compiler leaves files of removed sources where they are.
    const source = name.replace(/^dist\//, 'src/').replace(/(\.d\.ts|\.js)$/, '.ts');
    if (files.has(source)) problems.push(...mapProblems(files, name));
    else problems.push(`${name} has no source ${source}: remove dist and build again`);
  }
  return [...problems, ...importProblems(files, manifest)];
};
