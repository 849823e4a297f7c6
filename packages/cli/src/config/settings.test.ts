import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { settings, Settings } from './settings.js';

const of = (
  values: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string>> = {},
  flags: Readonly<Record<string, unknown>> = {},
): Settings =>
  Settings.of({
    flags,
    env,
    file: { values, base: path.resolve('/etc/tidemark') },
    cwd: path.resolve('/srv'),
  });

describe('settings', () => {
  test('[CLI-5] paths of the file are relative to it, others to the current folder', () => {
    const file = of({ tenant: 'acme', folder: 'server' });
    expect(file.text('folder')).toBe(path.resolve('/etc/tidemark/server'));
    expect(file.text('schema')).toBe(path.resolve('/etc/tidemark/tidemark.schema.json'));
    const variable = of({ folder: 'server' }, { TIDEMARK_FOLDER: 'here' });
    expect(variable.text('folder')).toBe(path.resolve('/srv/here'));
    const flag = of({}, { TIDEMARK_CHECKPOINTS: 'a' }, { checkpoints: 'b' });
    expect(flag.text('checkpoints.folder')).toBe(path.resolve('/srv/b'));
  });

  test('[CLI-5] values of each kind are taken from texts and from the file', () => {
    const one = of(
      { nats: { servers: ['a', 'b'], replicas: 3 }, checkpoints: { trimInput: true } },
      { TIDEMARK_NATS_STREAM_BYTES_MAX: '1000' },
    );
    expect(one.list('nats.servers')).toEqual(['a', 'b']);
    expect(one.count('nats.replicas')).toBe(3);
    expect(one.count('nats.streamBytesMax')).toBe(1000);
    expect(one.isOn('checkpoints.trimInput')).toBe(true);
    expect(of({}, { TIDEMARK_NATS: 'a, b' }).list('nats.servers')).toEqual(['a', 'b']);
    // An empty variable is as if it were not there.
    expect(of({ tenant: 'acme' }, { TIDEMARK_TENANT: '' }).text('tenant')).toBe('acme');
  });

  test('[CLI-5] every wrong value and unknown name is told at once', () => {
    const wrong = () =>
      of({
        tenant: 5,
        colour: 'red',
        nats: { server: 'x', replicas: 0 },
        checkpoints: { keep: 1.5, trimInput: 'perhaps' },
        device: 'data',
      });
    expect(wrong).toThrow(
      /colour: .*nats\.server: .*device: .*tenant: expected a text .*checkpoints\.keep: .*checkpoints\.trimInput: .*nats\.replicas: /s,
    );
  });

  test('[CLI-5] no setting of a secret has a flag, and none is shown', () => {
    for (const setting of settings.filter(({ kind }) => kind === 'secret'))
      expect('flag' in setting).toBe(false);
    const shown = JSON.stringify(of({ nats: { password: 'sesame', token: 'sesame' } }).shown());
    expect(shown).not.toContain('sesame');
  });
});
