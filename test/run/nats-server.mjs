// Finds a nats-server, or gets one without root: `node test/run/nats-server.mjs [--json]` prints it.
// In order: NATS_SERVER, PATH, the cache of an earlier run, the Debian package of the stable release
// (2.10 or newer), the Debian package of this machine's own release. Plain Node without dependencies.
import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const cache = path.join(root, 'node_modules/.cache/nats-server');
const downloadMsMax = 120_000;
/** First release that can fsync before it acknowledges (`sync_interval: always`). */
const wanted = [2, 10];

const installLine = {
  darwin: 'brew install nats-server',
  win32: 'winget install NATSAuthors.NATSServer',
};

/** Version that a program tells, as `2.10.27`; undefined when it is no nats-server. */
const versionOf = (program) => {
  const { status, stdout, stderr } = spawnSync(program, ['--version'], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (status !== 0) return undefined;
  return /nats-server:? v?(\d+\.\d+\.\d+)/.exec(`${stdout}${stderr}`)?.[1];
};

/** True if a version has `sync_interval: always`. */
export const isDurable = (version) => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > wanted[0] || (major === wanted[0] && minor >= wanted[1]);
};

const found = (program, source) => {
  const version = versionOf(program);
  return version === undefined
    ? undefined
    : { program, version, source, durable: isDurable(version) };
};

const onPath = () => {
  const name = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server';
  for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
    const program = path.join(folder, name);
    if (folder !== '' && existsSync(program)) return program;
  }
  return undefined;
};

const cached = (release) => path.join(cache, release, 'nats-server');

/** First stanza of the machine's own Debian sources, which names its mirror and its keys. */
const ownSources = () => {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? readdirSync(folder) : [];
  for (const file of ['debian.sources', ...files]) {
    const full = path.join(folder, file);
    if (!file.endsWith('.sources') || !existsSync(full)) continue;
    const stanza = readFileSync(full, 'utf8').split(/\n\s*\n/)[0] ?? '';
    if (/^URIs:.*\/debian\/?\s*$/m.test(stanza)) return { kind: 'sources', text: stanza };
  }
  const list = '/etc/apt/sources.list';
  const line = existsSync(list)
    ? /^deb\s.*\/debian\/?\s.*$/m.exec(readFileSync(list, 'utf8'))?.[0]
    : undefined;
  return line === undefined ? undefined : { kind: 'list', text: line };
};

const withSuite = ({ kind, text }, suite) => {
  if (suite === undefined) return text;
  return kind === 'sources'
    ? text.replace(/^Suites:.*$/m, `Suites: ${suite}`)
    : text.replace(/(\/debian\/?\s+)\S+/, `$1${suite}`);
};

const runIn = (folder, program, args) => {
  const { status, stderr } = spawnSync(program, args, {
    cwd: folder,
    encoding: 'utf8',
    timeout: downloadMsMax,
    env: { ...process.env, LC_ALL: 'C' },
  });
  if (status !== 0)
    throw new Error(`${program} failed: ${String(stderr).trim().split('\n').at(-1)}`);
};

/** Downloads and unpacks the Debian package of a suite into the cache; nothing else is changed. */
const fetchDebian = (release, suite) => {
  const sources = ownSources();
  if (sources === undefined) throw new Error('no Debian mirror is configured');
  const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-nats-'));
  try {
    const at = (name) => path.join(folder, name);
    for (const name of ['parts', 'lists/partial', 'archives/partial', 'out'])
      mkdirSync(at(name), { recursive: true });
    writeFileSync(at(`parts/debian.${sources.kind}`), `${withSuite(sources, suite)}\n`);
    const options = [
      ...['Dir::Etc::sourcelist=/dev/null', `Dir::Etc::sourceparts=${at('parts')}`],
      ...[`Dir::State::lists=${at('lists')}`, `Dir::Cache::archives=${at('archives')}`],
      ...['Dir::Cache::pkgcache=', 'Dir::Cache::srcpkgcache=', 'APT::Sandbox::User='],
    ].flatMap((option) => ['-o', option]);
    runIn(folder, 'apt-get', [...options, '-q', 'update']);
    runIn(folder, 'apt-get', [...options, '-q', 'download', 'nats-server']);
    const packed = readdirSync(folder).find((name) => name.endsWith('.deb'));
    if (packed === undefined) throw new Error('apt-get downloaded no package');
    runIn(folder, 'dpkg-deb', ['-x', packed, at('out')]);
    const program = ['usr/bin', 'usr/sbin']
      .map((place) => path.join(at('out'), place, 'nats-server'))
      .find(existsSync);
    if (program === undefined) throw new Error('the package holds no nats-server');
    mkdirSync(path.join(cache, release), { recursive: true });
    // Other processes may look for it meanwhile: it appears whole.
    const fresh = `${cached(release)}.${process.pid}`;
    copyFileSync(program, fresh);
    renameSync(fresh, cached(release));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return found(cached(release), `Debian ${release}`);
};

const isDebian = () =>
  process.platform === 'linux' && existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb');

/**
 * Finds a nats-server: {program, version, source, durable}, or {missing: what to do}. `say` is told
 * whatever a person should know. With `download: false` nothing is fetched.
 */
export const findNatsServer = ({ say = () => undefined, download = true } = {}) => {
  const named = process.env.NATS_SERVER;
  if (named) {
    const one = found(named, 'NATS_SERVER');
    if (one !== undefined) return one;
    return { missing: `NATS_SERVER names ${named}, which is no nats-server` };
  }
  const installed = onPath();
  const candidates = [
    installed && found(installed, 'PATH'),
    existsSync(cached('stable')) && found(cached('stable'), 'Debian stable'),
  ].filter(Boolean);
  const durable = candidates.find((one) => one.durable);
  if (durable !== undefined) return durable;
  const line =
    installLine[process.platform] ?? 'see https://docs.nats.io, "Installing a NATS Server"';
  const [old] = candidates;
  if (isDebian() && download) {
    try {
      say('nats-server: getting the Debian package of the stable release, without root ...');
      const one = fetchDebian('stable', 'trixie');
      if (one?.durable) return one;
    } catch (error) {
      say(`nats-server: ${error.message}`);
    }
    try {
      const last = old ?? found(cached('own'), 'Debian') ?? fetchDebian('own', undefined);
      if (last !== undefined) return warned(last, say);
    } catch (error) {
      say(`nats-server: ${error.message}`);
    }
  }
  if (old !== undefined) return warned(old, say);
  return { missing: `nats-server is not installed. Install it: ${line}` };
};

const warned = (one, say) => {
  if (!one.durable) {
    say(`WARNING: nats-server ${one.version} (${one.source}) acknowledges before it fsyncs:`);
    say('WARNING: a power cut may lose acknowledged uploads. Use 2.10 or newer.');
  }
  return one;
};

const host = '127.0.0.1';
const startMsMax = 15_000;

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const isListening = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });

/**
 * Starts a nats-server on the loopback, with JetStream in a temporary folder. Resolves to {url, pid, stop};
 * `stop` ends that process by its id and removes the folder.
 */
export const startNatsServer = async ({ program, durable }) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-nats-'));
  const port = await freePort();
  const sync = durable ? ', sync_interval: always' : '';
  const store = JSON.stringify(path.join(folder, 'store'));
  writeFileSync(
    path.join(folder, 'nats.conf'),
    `listen: "${host}:${port}"\njetstream { store_dir: ${store}${sync} }\n`,
  );
  const child = spawn(program, ['-c', path.join(folder, 'nats.conf')], { stdio: 'ignore' });
  let ended = false;
  const gone = new Promise((resolve) => {
    child.once('exit', () => {
      ended = true;
      resolve();
    });
    child.once('error', () => {
      ended = true;
      resolve();
    });
  });
  const stop = async () => {
    if (!ended) child.kill('SIGKILL');
    await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  const untilMs = Date.now() + startMsMax;
  while (!(await isListening(port))) {
    if (ended || Date.now() > untilMs) {
      await stop();
      throw new Error('nats-server did not start');
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { url: `nats://${host}:${port}`, pid: child.pid, stop };
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const one = findNatsServer({ say: (line) => console.error(line) });
  if (process.argv.includes('--json')) console.log(JSON.stringify(one));
  else if (one.missing === undefined) console.log(`${one.program} ${one.version} (${one.source})`);
  else console.error(one.missing);
  process.exitCode = one.missing === undefined ? 0 : 2;
}
