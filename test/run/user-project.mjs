// The project of a user outside the workspace: what it holds, how it installs, compiles and runs.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { isOffline, run, runNpm } from './spawned-program.mjs';
import { program, root } from './steps.mjs';

const { pure } = createRequire(import.meta.url)('../tidy/allowed-imports.cjs');
const installMsMax = 180_000;
const toolMsMax = 120_000;
const exampleMsMax = 60_000;
const promised = 'done, 5 parts';

/** The strictest that a user may ask for; declarations of dependencies are checked, too. */
const strict = {
  target: 'ES2022',
  lib: ['ES2022'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  noImplicitOverride: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  skipLibCheck: false,
};
/** Compilations by name: their own options and the files they take. */
const compilations = {
  NodeNext: {
    options: { module: 'NodeNext', moduleResolution: 'NodeNext', types: ['node'], outDir: 'out' },
    files: ['embed.ts', 'every-entry.ts'],
  },
  bundler: {
    options: { module: 'ESNext', moduleResolution: 'bundler', types: ['node'], noEmit: true },
    files: ['embed.ts', 'every-entry.ts'],
  },
  // What runs in browsers needs no types of Node.
  portable: {
    options: { module: 'ESNext', moduleResolution: 'bundler', types: [], noEmit: true },
    files: ['portable-entries.ts'],
  },
};

const entriesOf = ({ manifest }) =>
  Object.keys(manifest.exports).map((entry) => `${manifest.name}${entry.slice(1)}`);

const everyEntry = (packages) => {
  const entries = packages.flatMap(entriesOf).sort();
  const imports = entries.map((entry, at) => `import * as e${at} from '${entry}';`);
  const all = entries.map((_entry, at) => `e${at}`).join(', ');
  return `${imports.join('\n')}\nexport const entries = [${all}];\n`;
};

const example = () => {
  const fences = readFileSync(path.join(root, 'README.md'), 'utf8').matchAll(
    /```ts\n([\s\S]*?)```/g,
  );
  return [...fences].map((match) => match[1]).find((code) => code.includes('export const embed'));
};

const main = `import { rmSync } from 'node:fs';
import { embed } from './out/embed.js';
import './out/every-entry.js';

try {
  console.log(await embed('data'));
} finally {
  rmSync('data', { recursive: true, force: true });
}
`;

/** Writes the project of a user: the example, an import of every entry, a configuration per resolution. */
export const writeProject = (folder, origin, packages) => {
  const write = (name, content) =>
    writeFileSync(
      path.join(folder, name),
      typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`,
    );
  write('.npmrc', `@tidemark:registry=${origin}\n`);
  write('package.json', { name: 'user-of-tidemark', private: true, type: 'module' });
  write('embed.ts', example());
  write('every-entry.ts', everyEntry(packages));
  const isPortable = ({ manifest }) => pure.includes(manifest.name.replace('@tidemark/', ''));
  write('portable-entries.ts', everyEntry(packages.filter(isPortable)));
  write('main.js', main);
  for (const [name, { options, files }] of Object.entries(compilations))
    write(`tsconfig.${name}.json`, { compilerOptions: { ...strict, ...options }, files });
};

const notProxied = () => {
  const known = process.env.npm_config_noproxy ?? process.env.NO_PROXY ?? process.env.no_proxy;
  return [known, '127.0.0.1'].filter(Boolean).join(',');
};

/** Installs packages by npm as a user does; problems, or why it cannot be tried. */
export const npmInstall = async (folder, names) => {
  const { code, output } = await runNpm(
    'npm',
    ['install', ...names, '--prefix', '.', '--no-audit', '--no-fund'],
    { cwd: folder, limitMs: installMsMax, env: { npm_config_noproxy: notProxied() } },
  );
  if (code === 0) return [];
  return isOffline(output) ? { skipped: 'no registry can be reached' } : [output];
};

// Declarations of others that contradict themselves under exactOptionalPropertyTypes. Users who ask for
// that and for checked declarations see these messages whoever imports the package.
const faulty = ['@nats-io/nats-core'];
const isForeign = (message) => faulty.some((name) => message.startsWith(`node_modules/${name}/`));

/** Compiles by one of the configurations of the project. */
export const compile = async (folder, name) => {
  const { code, output } = await run(
    process.execPath,
    [program('tsc'), '-p', `tsconfig.${name}.json`, '--pretty', 'false'],
    { cwd: folder, limitMs: toolMsMax },
  );
  if (code === 0) return [];
  const messages = output.split(/\n(?=\S)/).filter((message) => message.trim() !== '');
  return messages.length > 0 && code === 2
    ? messages.filter((message) => !isForeign(message))
    : [output];
};

/** Runs the compiled example and an import of every entry on a Node. */
export const runExample = async (folder, executable) => {
  const { code, output } = await run(executable, ['main.js'], {
    cwd: folder,
    limitMs: exampleMsMax,
  });
  return code === 0 && output.trim() === promised ? [] : [`code ${code}: ${output}`];
};

const contractTest = `import { registerTransportContract } from '@tidemark/testkit';
import { createLocalTransport } from '@tidemark/transport-local';

const timer = { sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) };
registerTransportContract('installed', () => {
  let transport;
  return Promise.resolve({
    connect: (service) => Promise.resolve((transport = createLocalTransport({ service, timer }))),
    cut: () => Promise.resolve(transport?.disconnectAll()),
    dispose: () => Promise.resolve(),
  });
});
`;

/** Runs a contract suite of the testkit as the author of an adapter would. */
export const runContract = async (folder) => {
  writeFileSync(path.join(folder, 'transport.test.js'), contractTest);
  const entry = path.join(folder, 'node_modules/vitest/vitest.mjs');
  const { code, output } = await run(process.execPath, [entry, 'run', 'transport.test.js'], {
    cwd: folder,
    limitMs: toolMsMax,
    env: { NO_COLOR: '1' },
  });
  return code === 0 && /Tests +[1-9]\d* passed/.test(output) ? [] : [output];
};

/** Asks a program of an installed package how to use it. */
export const runHelp = async (folder, entry) => {
  const { code, output } = await run(process.execPath, [entry, '--help'], {
    cwd: folder,
    limitMs: exampleMsMax,
  });
  return code === 0 && output.trim() !== '' ? [] : [`code ${code}: ${output}`];
};
