// Nodes that users have, as programs: the one that runs this, the others from npm in pinned versions.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isOffline, run, runNpm } from './spawned-program.mjs';
import { root } from './steps.mjs';

/** Newest release of each supported line that npm has as a package of binaries. */
const releases = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0' };
const installMsMax = 180_000;
const platforms = { linux: 'linux', darwin: 'darwin', win32: 'win' };

/** The Node that runs this, as {version, program}. */
export const ownNode = () => ({ version: process.versions.node, program: process.execPath });

const fromNpm = async (version) => {
  const name = `node-${platforms[process.platform] ?? process.platform}-${process.arch}`;
  const folder = path.join(root, 'node_modules/.cache/tidemark', `node-${version}`);
  const program = path.join(
    ...[folder, 'node_modules', name, 'bin'],
    process.platform === 'win32' ? 'node.exe' : 'node',
  );
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
    const { code, output } = await runNpm(
      'npm',
      ['install', `${name}@${version}`, '--prefix', '.', '--ignore-scripts', '--no-package-lock'],
      { cwd: folder, limitMs: installMsMax },
    );
    const missing = /\b(E404|ETARGET|EBADPLATFORM)\b/.test(output);
    if (missing) return { skipped: `npm has no ${name}@${version}` };
    if (code !== 0 && isOffline(output)) return { skipped: 'no registry can be reached' };
    if (code !== 0) return { problem: output };
  }
  const told = await run(program, ['--version'], { cwd: folder, limitMs: 20_000 });
  if (told.output.trim() !== `v${version}`) return { problem: `${program}: ${told.output}` };
  return { version, program };
};

/** Every supported Node: {version, program}, or {version, skipped} or {version, problem} with the reason. */
export const supportedNodes = async () => {
  const own = ownNode();
  const nodes = [];
  for (const [line, version] of Object.entries(releases)) {
    if (own.version.startsWith(`${line}.`)) nodes.push(own);
    else nodes.push({ version, ...(await fromNpm(version)) });
  }
  return nodes;
};
