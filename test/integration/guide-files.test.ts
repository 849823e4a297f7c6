import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cliReference, settings } from '@tidemark/cli';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { natsProgram } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';

const guides = fileURLToPath(new URL('../../docs/guides/', import.meta.url));
const deploy = path.join(guides, 'deploy');
const textOf = (file: string): string => readFileSync(path.join(guides, file), 'utf8');
const files = readdirSync(guides, { recursive: true, encoding: 'utf8' }).filter((file) =>
  statSync(path.join(guides, file)).isFile(),
);

interface Service {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly networks?: readonly string[];
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
  readonly stop_grace_period?: string;
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: object;
  readonly volumes: object;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}
const compose = parse(textOf('deploy/compose.yaml'), { merge: true }) as Compose;

const variables = new Set<string>([...settings.map(({ variable }) => variable), 'TIDEMARK_CONFIG']);
const names = new Set<string>(settings.map(({ name }) => name));
const groups = new Set(settings.map(({ name }) => name.split('.')[0]));

/** Flags that a command takes, with those of all commands. */
const flagsOf = (command: string): ReadonlySet<string> => {
  const sections = cliReference().split(/^## /m);
  const wanted = ['tidemark\n', `tidemark ${command}\n`];
  const text = sections.filter((one) => wanted.some((head) => one.startsWith(head))).join('');
  return new Set([
    '--help',
    ...[...text.matchAll(/^ +(--[a-z-]+)/gm)].map((match) => match[1] ?? ''),
  ]);
};

/** Command lines of tidemark in a text, with what stands behind the name of the command. */
const commandLines = (text: string): readonly (readonly [string, string])[] => {
  const commands = [...cliReference().matchAll(/^## tidemark (.+)$/gm)]
    .map((match) => match[1] ?? '')
    .sort((a, b) => b.length - a.length);
  return [...text.matchAll(/tidemark ([a-z][^\n`|]*)/g)].flatMap((match) => {
    const line = match[1] ?? '';
    const command = commands.find((one) => `${line} `.startsWith(`${one} `));
    return command === undefined ? [] : [[command, line.slice(command.length)] as const];
  });
};

describe('files of the guides', () => {
  test('[CLI-72] name variables, flags and settings that exist', () => {
    let flags = 0;
    for (const file of files) {
      const text = textOf(file);
      for (const [variable] of text.matchAll(/TIDEMARK_[A-Z_]+/g))
        expect(variables, `${file}: ${variable}`).toContain(variable);
      for (const [command, rest] of commandLines(text))
        for (const [flag] of rest.matchAll(/--[a-z][a-z-]*/g)) {
          flags += 1;
          expect(flagsOf(command), `${file}: tidemark ${command} ${flag}`).toContain(flag);
        }
      for (const [, name = ''] of text.matchAll(/`([a-z]+(?:\.[a-zA-Z]+)+)`/g))
        if (groups.has(name.split('.')[0] ?? '')) expect(names, `${file}: ${name}`).toContain(name);
    }
    expect(flags).toBeGreaterThan(5);
    for (const { command = [] } of Object.values(compose.services)) {
      const [name = '', ...rest] = command;
      if (name === 'serve') expect([...flagsOf(name)]).toEqual(expect.arrayContaining(rest));
    }
  });

  test('[CLI-72] the compose file names what is there, and allows enough time to stop', () => {
    expect(Object.keys(compose.services)).toHaveLength(5);
    for (const [name, service] of Object.entries(compose.services)) {
      for (const network of service.networks ?? [])
        expect(Object.keys(compose.networks), name).toContain(network);
      for (const volume of service.volumes ?? []) {
        const [source = ''] = volume.split(':');
        if (!source.startsWith('./')) expect(Object.keys(compose.volumes), name).toContain(source);
      }
      expect(service.image, name).toMatch(/^(nats:2\.1\d|tidemark)$/);
      if (service.image !== 'tidemark') continue;
      expect(service.stop_grace_period).toBe('180s');
      expect(service.environment?.['TIDEMARK_NATS']?.split(',')).toHaveLength(3);
      expect(service.secrets).toEqual(Object.keys(compose.secrets));
      // Secrets come from the environment of whoever starts it: none is written here.
      expect(service.environment?.['TIDEMARK_NATS_PASSWORD']).toMatch(/^\$\{NATS_PASSWORD:\?/);
    }
    const config = JSON.parse(textOf('deploy/tidemark.config.json')) as object;
    for (const key of Object.keys(config)) expect([...groups]).toContain(key);
  });

  test('[CLI-72] the image runs without root, on what its first stage made', () => {
    const text = textOf('deploy/Dockerfile');
    const stages = [...text.matchAll(/^FROM (\S+)/gm)].map((match) => match[1]);
    expect(stages).toEqual(['node:20-slim', 'node:20-slim']);
    const final = text.slice(text.lastIndexOf('FROM '));
    expect(final).toMatch(/^USER node$/m);
    expect(final).toMatch(/^COPY --from=build /m);
    expect(final).not.toMatch(/^COPY (?!--from=build)/m);
    const entry = /^ENTRYPOINT (.+)$/m.exec(final)?.[1] ?? '[]';
    expect(JSON.parse(entry)).toEqual(['node', '/app/bin/tidemark.mjs']);
    expect(
      existsSync(fileURLToPath(new URL('../../packages/cli/bin/tidemark.mjs', import.meta.url))),
    ).toBe(true);
    // The image is built from the whole checkout: what is local or secret stays out.
    const ignored = textOf('deploy/Dockerfile.dockerignore').split('\n');
    expect(ignored).toEqual(
      expect.arrayContaining(['.git', '**/node_modules', '**/*.key', '**/.env']),
    );
  });

  test('[CLI-72] the unit gives the command nothing that it may harm; systemd takes it', () => {
    const text = textOf('deploy/tidemark.service');
    for (const line of [
      'DynamicUser=yes',
      'NoNewPrivileges=yes',
      'ProtectSystem=strict',
      'CapabilityBoundingSet=',
      'KillSignal=SIGTERM',
      'TimeoutStopSec=180',
      'RestartPreventExitStatus=2',
    ])
      expect(text.split('\n')).toContain(line);
    // Only a system with systemd can say more.
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) return;
    const unit = path.join(deploy, 'tidemark.service');
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', unit], {
      encoding: 'utf8',
    });
    expect([status, stdout, stderr]).toEqual([0, '', '']);
  });
});

describeOnNats('configuration of NATS', () => {
  test('[CLI-72] nats-server takes its configuration', () => {
    const { environment = {} } = compose.services['nats-1'] ?? {};
    const env = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [
        name,
        value.replaceAll(/\$\{[^}]+\}/g, '12345'),
      ]),
    );
    const file = path.join(deploy, 'nats.conf');
    const checked = spawnSync(natsProgram ?? '', ['--config', file, '-t'], {
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });
    expect(checked.stderr + checked.stdout).toContain('is valid');
    expect(checked.status).toBe(0);
  });
});
