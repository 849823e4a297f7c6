// Packs what is published, checks the packed files, installs them with npm in an empty folder outside the
// workspace, compiles there and runs the example of README.md. Nothing is read from the workspace there.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openRegistry } from './loopback-registry.mjs';
import { ownNode, supportedNodes } from './node-releases.mjs';
import { filesOf, problemsIn } from './package-file.mjs';
import { isOffline, run, runNpm } from './spawned-program.mjs';
import { build, pnpmVersion, program, root, seconds } from './steps.mjs';
import {
  compile,
  npmInstall,
  runContract,
  runExample,
  runHelp,
  writeProject,
} from './user-project.mjs';

const packMsMax = 120_000;
const toolMsMax = 120_000;
/** What users name when they install: the doors and the command. */
const doors = ['@tidemark/cli', '@tidemark/node', '@tidemark/server'];

const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** Manifests of the packages that are published: all in packages/ that are not private. */
const publishedManifests = () =>
  readdirSync(path.join(root, 'packages'))
    .map((name) => path.join(root, 'packages', name, 'package.json'))
    // Another branch may leave the folder of a package that this one does not have.
    .filter((file) => existsSync(file))
    .map((file) => readJson(file))
    .filter((manifest) => manifest.private !== true);

/** A package in the version that is installed here, as npm wants it named. */
const versioned = (name) =>
  `${name}@${readJson(path.join(root, 'node_modules', name, 'package.json')).version}`;

/** Packs into a folder below the root, whose path from there needs no quoting in any shell. */
const pack = async (manifests) => {
  const destination = 'node_modules/.cache/tidemark/packed';
  const folder = path.join(root, destination);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const filters = manifests.map(({ name }) => `--filter=${name}`);
  const { code, output } = await runNpm(
    'npx',
    ['--yes', pnpmVersion(), '-r', ...filters, 'pack', '--pack-destination', destination],
    { cwd: root, limitMs: packMsMax, env: { CI: 'true' } },
  );
  if (code !== 0)
    return { problems: isOffline(output) ? { skipped: 'no registry can be reached' } : [output] };
  const packages = manifests.map(({ name, version }) => {
    const file = path.join(folder, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`);
    const packed = readFileSync(file);
    const files = filesOf(packed);
    return { file, packed, files, manifest: JSON.parse(files.get('package.json').toString()) };
  });
  return { packages, problems: [] };
};

const lint = async ({ packed }) => {
  // Tools are loaded late: this file is read before they are installed.
  const { publint } = await import('publint');
  const { formatMessage } = await import('publint/utils');
  const tarball = packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball }, strict: true });
  return messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`);
};

const attw = async ({ file }) => {
  // Tidemark is ES modules only; the profile says so, everything else stays an error.
  const options = ['--profile', 'esm-only', '--format', 'ascii', '--no-color', '--no-emoji'];
  const { code, output } = await run(process.execPath, [program('attw'), file, ...options], {
    cwd: root,
    limitMs: toolMsMax,
  });
  return code === 0 ? [] : [output];
};

/** Counts checks: each is a title and a function that resolves to problems or {skipped: reason}. */
const accounting = (say) => {
  const result = { passed: 0, failures: [], skipped: [] };
  const check = async (title, step) => {
    const started = performance.now();
    let found;
    try {
      found = await step();
    } catch (error) {
      found = [String(error?.stack ?? error)];
    }
    const took = seconds(performance.now() - started);
    if (!Array.isArray(found)) {
      result.skipped.push(`packages: ${title} (${found.skipped})`);
      say(`skip ${title}: ${found.skipped}`);
      return false;
    }
    if (found.length === 0) {
      result.passed += 1;
      say(`ok   ${title} (${took})`);
      return true;
    }
    result.failures.push(`packages: ${title}`);
    say(`FAIL ${title} (${took})\n     ${found.join('\n     ').trimEnd()}`);
    return false;
  };
  return { result, check };
};

const size = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;

const checkPacked = async ({ packages, version, check, quick }) => {
  for (const one of packages) {
    const { name } = one.manifest;
    await check(`${name} ${size(one.packed.length)} holds what it names, and nothing else`, () =>
      problemsIn(one.files, { name: one.source, version }),
    );
    await check(`${name} passes publint`, () => lint(one));
    if (!quick) await check(`${name} passes attw`, () => attw(one));
  }
};

const compilations = {
  NodeNext: 'users compile strictly under NodeNext resolution',
  bundler: 'users compile strictly under bundler resolution',
  portable: 'what runs in browsers compiles without the types of Node',
};

const checkRuns = async ({ check, quick, folder }) => {
  for (const one of quick ? [ownNode()] : await supportedNodes())
    await check(
      `every entry loads and the example of README.md runs on Node ${one.version}`,
      () => {
        if (one.skipped !== undefined) return { skipped: one.skipped };
        return one.problem === undefined ? runExample(folder, one.program) : [one.problem];
      },
    );
};

const checkTestkit = async ({ check, folder }) => {
  const manifest = readJson(path.join(root, 'packages/testkit/package.json'));
  // Beside the very versions that this repository tests with.
  const peers = Object.keys(manifest.peerDependencies).map((name) => versioned(name));
  const title = `npm installs @tidemark/testkit beside ${peers.join(' and ')}`;
  if (await check(title, () => npmInstall(folder, ['@tidemark/testkit', ...peers])))
    await check('a contract suite of @tidemark/testkit runs', () => runContract(folder));
};

const checkInstalled = async ({ packages, check, quick, folder, origin }) => {
  const forUsers = packages.filter(({ manifest }) => manifest.name !== '@tidemark/testkit');
  writeProject(folder, origin, forUsers);
  const names = [...doors, versioned('@types/node')];
  if (!(await check(`npm installs ${names.join(', ')}`, () => npmInstall(folder, names)))) return;
  let compiled = true;
  for (const [name, title] of Object.entries(compilations))
    if (!quick || name === 'NodeNext')
      compiled = (await check(title, () => compile(folder, name))) && compiled;
  if (compiled) await checkRuns({ check, quick, folder });
  for (const { manifest } of forUsers)
    for (const [name, file] of Object.entries(manifest.bin ?? {})) {
      const entry = path.join(folder, 'node_modules', manifest.name, file);
      const title = `${name} of ${manifest.name} tells how to use it`;
      await check(title, () => runHelp(folder, entry));
    }
  if (!quick) await checkTestkit({ check, folder });
};

/**
 * Checks the packages as users get them; resolves to {passed, failures, skipped, packages}. `quick` leaves
 * out attw, bundlers, the testkit and every Node but the one that runs this; `keep` leaves the user's project.
 */
export const checkPackages = async ({ quick = false, keep = false, say = console.log } = {}) => {
  const { result, check } = accounting(say);
  const finish = (packages = []) => ({
    ...result,
    packages: packages.map(({ manifest, packed, files }) => ({
      name: manifest.name,
      version: manifest.version,
      files: files.size,
      bytes: packed.length,
    })),
  });
  const manifests = publishedManifests();
  const built = async () => {
    const { code, output } = await build({ quiet: true });
    return code === 0 ? [] : [output];
  };
  if (!(await check('everything builds', built))) return finish();
  let packages = [];
  const packedAll = await check(`pnpm packs ${manifests.length} packages`, async () => {
    const packed = await pack(manifests);
    packages = packed.packages ?? [];
    packages.forEach((one, at) => {
      one.source = manifests[at].name;
    });
    const versions = new Set(manifests.map(({ version }) => version));
    return versions.size > 1 ? ['versions differ'] : packed.problems;
  });
  if (!packedAll) return finish();
  await checkPacked({ packages, version: manifests[0].version, check, quick });
  const registry = await openRegistry(packages);
  const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-installed-'));
  try {
    await checkInstalled({ packages, check, quick, folder, origin: registry.origin });
  } finally {
    registry.close();
    if (keep) say(`kept ${folder}`);
    else rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  return finish(packages);
};
