import { access, constants, mkdir, statfs } from 'node:fs/promises';
import type { NatsPlace } from '@tidemark/node';
import type { Call } from '../call.js';
import { checkSchemaFile } from '../config/schema-file.js';
import { requireOwnFolders } from '../config/served-tenants.js';
import type { Settings } from '../config/settings.js';
import { checkpointAge, versionsBehind } from './checkpoint-age.js';
import { checkpointPlaceOf, showCheckpointPlace, withCheckpoints } from './checkpoint-place.js';
import { connectDesk } from './control-client.js';
import { failed, ok, skipped, warning, type Finding } from './finding.js';
import { checkCredentials, checkIdentities } from './identity-checks.js';
import { withDesk } from './open-desk.js';
import { natsVersion } from './nats-version.js';
import { findNatsProgram, installLine, isDurableVersion } from './nats-program.js';
import { holdsServer, natsPlaceOf } from './open-folder.js';

interface CheckContext {
  readonly call: Call;
  /** Time of this machine. */
  readonly nowMs: number;
}

const nodeMajorMin = 20;
const freeBytesWanted = 1024 * 1024 * 1024;
const checkpointVersionsMax = 1_000_000;
const monitorMsMax = 5_000;
/** No clock that is right shows less: 2025-01-01. */
const earliestMs = 1_735_689_600_000;
const aheadMsMax = 60_000;

const checkNode = (): Finding => {
  const version = process.versions.node;
  return Number(version.split('.')[0]) >= nodeMajorMin
    ? ok('node', `Node ${version}`)
    : {
        check: 'node',
        state: 'failed',
        found: `Node ${version}`,
        mend: `Install Node ${nodeMajorMin} or newer.`,
      };
};

const checkSchema = async (settings: Settings): Promise<Finding> => {
  try {
    const checked = await checkSchemaFile(settings);
    if ('customization' in checked) return ok('schema', `version ${checked.customization.version}`);
    return {
      check: 'schema',
      state: 'failed',
      found: `${checked.problems.length} problems`,
      mend: '`tidemark validate` lists them.',
    };
  } catch (cause) {
    return failed('schema', cause);
  }
};

const checkDisk = async (settings: Settings): Promise<Finding> => {
  const folder = settings.needed('folder');
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.R_OK | constants.W_OK);
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const text = `${folder} is writable, ${Math.round(free / 1024 / 1024)} MB free`;
    return free >= freeBytesWanted
      ? ok('disk', text)
      : warning(
          'disk',
          text,
          'Free space: a full disk stops uploads, and edits stay on the devices.',
        );
  } catch (cause) {
    return failed('disk', cause);
  }
};

interface StoreFindings {
  readonly findings: readonly Finding[];
  /** Whether the tenant demands identities, as far as that could be seen. */
  readonly isDemanded: boolean;
}

const checkStore = async (settings: Settings, nowMs: number): Promise<StoreFindings> => {
  const folder = settings.needed('folder');
  const running = (await connectDesk(folder)) !== undefined;
  if (!running && !(await holdsServer(folder)))
    return {
      findings: [skipped('store', `there is no server in ${folder} yet`)],
      isDemanded: false,
    };
  try {
    // The nats-server of the folder, which may hold the checkpoints, runs as long as the desk is open.
    const looked = await withDesk(settings, { look: true }, async (desk) => {
      const found = await desk.status();
      const census = await desk.census();
      return { status: found, census, checkpoints: await checkCheckpoints(settings, found) };
    });
    const { status, census, checkpoints } = looked;
    const found: Finding[] = [];
    if (status.failure === null)
      found.push(
        ok(
          'store',
          `version ${status.incarnation}:${status.n}, ${running ? 'served now' : 'opened and closed'}`,
        ),
      );
    else
      found.push({
        check: 'store',
        state: 'failed',
        found: `the fold has stopped: ${status.failure.message}`,
        mend: 'Read the message; a hook that throws is mended in the application, a damaged store is restored from a backup.',
      });
    found.push(
      status.now > nowMs + aheadMsMax
        ? warning(
            'clock of the input',
            `the newest input is ${Math.round((status.now - nowMs) / 1000)} s ahead of this machine`,
            'Set the clocks of all servers by NTP.',
          )
        : ok('clock of the input', 'not ahead of this machine'),
    );
    if (status.openErrors > 0)
      found.push(
        warning(
          'sync errors',
          `${status.openErrors} wait for a person`,
          '`tidemark errors list` shows them.',
        ),
      );
    found.push(checkpoints, ...checkIdentities(census));
    return { findings: found, isDemanded: census.required };
  } catch (cause) {
    return { findings: [failed('store', cause)], isDemanded: false };
  }
};

const checkCheckpoints = async (
  settings: Settings,
  status: {
    readonly incarnation: number;
    readonly n: number;
    readonly checkpoint: { readonly incarnation: number; readonly n: number } | null;
    readonly nats: readonly string[] | null;
  },
): Promise<Finding> => {
  try {
    const place = await checkpointPlaceOf(settings);
    const folder = showCheckpointPlace(place);
    const names = await withCheckpoints(settings, place, status.nats, (checkpoints) =>
      checkpoints.list(),
    );
    const mend =
      '`tidemark backup <folder>` writes one; checkpoints.everyOps lets `serve` write them.';
    if (names.length === 0 || status.checkpoint === null)
      return warning(
        'checkpoints',
        `there is none in ${folder}: devices keep their whole logs`,
        mend,
      );
    const behind = versionsBehind(status, status.checkpoint);
    const text = `${names.length} in ${folder}, the newest ${checkpointAge(status, status.checkpoint)}`;
    // One of another incarnation holds nothing of this one's logs.
    return behind === undefined || behind > checkpointVersionsMax
      ? warning('checkpoints', text, mend)
      : ok('checkpoints', text);
  } catch (cause) {
    return failed('checkpoints', cause);
  }
};

const checkClock = (nowMs: number): Finding =>
  nowMs >= earliestMs
    ? ok('clock', new Date(nowMs).toISOString())
    : {
        check: 'clock',
        state: 'failed',
        found: new Date(nowMs).toISOString(),
        mend: 'Set the clock of this machine, best by NTP.',
      };

const checkProgram = (settings: Settings): Finding => {
  const program = findNatsProgram(settings.text('nats.program'));
  if (program === undefined)
    return warning(
      'nats-server',
      'neither an address of NATS nor a program nats-server: `serve` cannot start',
      `${installLine()}; or set nats.servers.`,
    );
  return program.durable
    ? ok('nats-server', `${program.version} at ${program.program}, \`serve\` starts it`)
    : warning(
        'nats-server',
        `${program.version} cannot fsync before it acknowledges`,
        `${installLine()}.`,
      );
};

interface JetStreamState {
  readonly config?: { readonly sync_always?: boolean; readonly sync_interval?: number };
}

const checkSync = async (settings: Settings): Promise<Finding> => {
  const monitor = settings.text('nats.monitor');
  const mend =
    'Set `jetstream { sync_interval: always }` in the configuration of NATS; without, a power cut may lose uploads that were acknowledged.';
  if (monitor === undefined)
    return warning(
      'sync_interval',
      'unknown: no address of its monitoring is set (nats.monitor)',
      mend,
    );
  try {
    const answer = await fetch(new URL('/jsz', monitor), {
      signal: AbortSignal.timeout(monitorMsMax),
    });
    const { config } = (await answer.json()) as JetStreamState;
    return config?.sync_always === true
      ? ok('sync_interval', 'always')
      : warning('sync_interval', 'not always', mend);
  } catch {
    return warning('sync_interval', `unknown: ${monitor} does not answer`, mend);
  }
};

const checkNats = async (settings: Settings, place: NatsPlace): Promise<readonly Finding[]> => {
  try {
    const version = await natsVersion(place);
    if (!isDurableVersion(version))
      return [
        warning(
          'nats-server',
          `${version} at ${place.servers.join(', ')} cannot fsync before it acknowledges`,
          'Use 2.10 or newer with `sync_interval: always`; until then a power cut may lose uploads that were acknowledged.',
        ),
      ];
    return [
      ok('nats-server', `${version} at ${place.servers.join(', ')}`),
      await checkSync(settings),
    ];
  } catch (cause) {
    return [failed('nats-server', cause)];
  }
};

/** Every tenant of the configuration, or the one that was asked for. */
const checkedTenants = (settings: Settings): readonly Settings[] => {
  if (settings.tenants === undefined || settings.sourceOf('tenant') === 'flag') {
    const one = settings.forTenant();
    one.needed('tenant');
    return [one];
  }
  requireOwnFolders(settings.tenants.map(({ name }) => settings.forTenant(name)));
  return settings.tenants.map(({ name }) => settings.forTenant(name));
};

/** Runs every check; a check that fails does not stop the others. */
export const checkAll = async ({ call, nowMs }: CheckContext): Promise<readonly Finding[]> => {
  const findings: Finding[] = [checkNode(), checkClock(nowMs)];
  let settings: Settings;
  let tenants: readonly Settings[];
  try {
    const loaded = await call.loaded();
    settings = loaded.settings;
    tenants = checkedTenants(settings);
    findings.push(ok('configuration', loaded.file ?? 'no file; variables and flags only'));
  } catch (cause) {
    return [...findings, failed('configuration', cause)];
  }
  let isDemanded = false;
  for (const tenant of tenants) {
    const store = await checkStore(tenant, nowMs);
    isDemanded ||= store.isDemanded;
    const found = [await checkSchema(tenant), await checkDisk(tenant), ...store.findings];
    const of = tenants.length === 1 ? '' : ` of ${tenant.needed('tenant')}`;
    findings.push(...found.map((one) => ({ ...one, check: `${one.check}${of}` })));
  }
  findings.push(...(await checkCredentials(settings, isDemanded, nowMs)));
  const place = await natsPlaceOf(settings).catch((cause: unknown) => {
    findings.push(failed('nats-server', cause));
    return undefined;
  });
  if (place !== undefined) findings.push(...(await checkNats(settings, place)));
  else if (settings.list('nats.servers') === undefined) findings.push(checkProgram(settings));
  return findings;
};
