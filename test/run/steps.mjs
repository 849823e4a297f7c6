// Steps of the repository's commands: plain Node without dependencies, because the first step
// installs them. Tools are started as Node programs, so no shell and no .cmd file is involved.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

const programs = {
  tsc: 'typescript/bin/tsc',
  vitest: 'vitest/vitest.mjs',
  oxlint: 'oxlint/bin/oxlint',
  prettier: 'prettier/bin/prettier.cjs',
  depcruise: 'dependency-cruiser/bin/dependency-cruise.mjs',
  attw: '@arethetypeswrong/cli/dist/index.js',
};

/** Full path of an installed tool's Node entry. */
export const program = (name) => path.join(root, 'node_modules', programs[name]);

/** The pinned pnpm, as `packageManager` in package.json names it. */
export const pnpmVersion = () =>
  JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).packageManager;

/** Milliseconds as seconds with one decimal. */
export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/**
 * Runs a Node program and resolves to its exit code and output. The output is passed through while
 * it runs; after `limitMs` the program is ended and the code is 124.
 */
export const node = (args, { env = {}, quiet = false, limitMs } = {}) =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let timedOut = false;
    const timer =
      limitMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            child.kill('SIGTERM');
            setTimeout(() => {
              child.kill('SIGKILL');
              // What it started may hold the pipes open; nobody waits for that.
              child.stdout.destroy();
              child.stderr.destroy();
            }, 5_000).unref();
          }, limitMs);
    const keep = (stream) => (chunk) => {
      output += chunk;
      if (!quiet) stream.write(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', keep(process.stdout));
    child.stderr.setEncoding('utf8').on('data', keep(process.stderr));
    child.on('error', (error) => {
      output += String(error);
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      if (timedOut) console.error(`ended after ${seconds(limitMs)}: ${args.join(' ')}`);
      resolve({ code: timedOut ? 124 : (code ?? 1), output });
    });
  });

/** True if what is installed is what the lock file says. */
const isInstalled = () => {
  const installed = path.join(root, 'node_modules/.pnpm/lock.yaml');
  if (!existsSync(installed)) return false;
  if (!Object.keys(programs).every((name) => existsSync(program(name)))) return false;
  return (
    readFileSync(installed, 'utf8') === readFileSync(path.join(root, 'pnpm-lock.yaml'), 'utf8')
  );
};

/**
 * Installs dependencies as locked, through npx with the pinned pnpm: only Node and npm are assumed.
 * Skips when node_modules already matches the lock file, unless `always`.
 */
export const install = ({ always = false } = {}) => {
  if (!always && isInstalled()) return { code: 0, skipped: true };
  const windows = process.platform === 'win32';
  const { status } = spawnSync(
    windows ? 'npx.cmd' : 'npx',
    ['--yes', pnpmVersion(), 'install', '--frozen-lockfile'],
    // CI=true keeps pnpm from asking questions where nobody answers.
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      shell: windows,
      env: { ...process.env, CI: 'true' },
    },
  );
  return { code: status ?? 1, skipped: false };
};

/** Builds every package and the demonstration, or the named programs instead of it. */
export const build = (options = {}, programs = ['test/demo']) =>
  node([program('tsc'), '-b', 'test/tsconfig.json', ...programs], options);

const sourceFolders = ['packages', 'test', 'bench'];

/** The checks that need no test runner, in the order in which they run; each is one function. */
export const checks = {
  // The benchmarks are compiled here too, or nobody would notice that they no longer do.
  build: (options) => build(options, ['test/demo', 'bench']),
  types: (options) => node([program('tsc'), '-p', 'test/tsconfig.types.json'], options),
  lint: (options) =>
    node(
      [program('oxlint'), '-c', 'test/tidy/oxlint.json', '--type-aware', ...sourceFolders],
      options,
    ),
  boundaries: (options) =>
    node(
      [
        program('depcruise'),
        '--config',
        'test/tidy/dependency-cruiser.cjs',
        '--output-type',
        'err-long',
        ...sourceFolders,
      ],
      options,
    ),
  format: (options) => node([program('prettier'), '--check', '--log-level', 'warn', '.'], options),
};

/**
 * Runs the named checks; prints each with its time and what a failed one said; returns the failed names. `leftMs`
 * tells how long the next one may take; one that takes longer is ended and has failed.
 */
export const runChecks = async (names, leftMs = () => undefined) => {
  const failed = [];
  const run = async (name) => {
    const started = performance.now();
    const { code, output } = await checks[name]({ quiet: true, limitMs: leftMs() });
    if (code !== 0) failed.push(name);
    const said = code === 0 ? '' : output;
    console.log(
      `\n== ${name}\n${said}== ${name}: ${code === 0 ? 'ok' : 'FAILED'} in ${seconds(performance.now() - started)}`,
    );
  };
  const [first, ...others] = names;
  // Others read what the first one builds. Two at a time keep two cores busy.
  if (first !== undefined) await run(first);
  const lane = async () => {
    for (let name = others.shift(); name !== undefined; name = others.shift()) await run(name);
  };
  await Promise.all([lane(), lane()]);
  return failed;
};

/**
 * Runs Vitest on the given projects and reads its report. `skipped` and `failures` are full titles;
 * a file that does not load counts as one failure.
 */
export const vitest = async (args, { env = {}, limitMs } = {}) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-vitest-'));
  const report = path.join(folder, 'report.json');
  const { code, output } = await node(
    [
      program('vitest'),
      'run',
      '--config',
      'test/vitest.config.ts',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...args,
    ],
    { env, ...(limitMs === undefined ? {} : { limitMs }) },
  );
  const result = { passed: 0, failures: [], skipped: [], output, code };
  if (existsSync(report)) {
    for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) {
      const name = path.relative(root, file.name);
      if (
        file.status === 'failed' &&
        file.assertionResults.every(({ status }) => status !== 'failed')
      )
        result.failures.push(`${name} (does not load)`);
      for (const { status, fullName } of file.assertionResults) {
        if (status === 'passed') result.passed += 1;
        else if (status === 'failed') result.failures.push(`${name}: ${fullName}`);
        else result.skipped.push(`${name}: ${fullName}`);
      }
    }
  }
  // No report, no test and a failure that nobody names are failures, whatever the exit code says.
  if (result.failures.length === 0 && (code !== 0 || result.passed + result.skipped.length === 0))
    result.failures.push(`vitest ended with code ${code} after ${result.passed} tests`);
  rmSync(folder, { recursive: true, force: true });
  return result;
};

/** Prints the closing lines that CI reads and sets the exit code. */
export const conclude = ({ passed, failures, skipped }) => {
  for (const title of failures) console.log(`FAILED ${title}`);
  for (const title of skipped) console.log(`SKIPPED ${title}`);
  console.log(`${skipped.length} skipped`);
  console.log(`${passed} passed, ${failures.length} failed`);
  process.exitCode = failures.length === 0 && passed > 0 ? 0 : 1;
};
