import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { servedTenants } from './served-tenants.js';
import { Settings } from './settings.js';

const base = path.resolve('/etc/tidemark');
const of = (
  values: Readonly<Record<string, unknown>>,
  flags: Readonly<Record<string, unknown>> = {},
  env: Readonly<Record<string, string>> = {},
): Settings => Settings.of({ flags, env, file: { values, base }, cwd: base });
const namesOf = (settings: Settings): readonly string[] =>
  servedTenants(settings).map((one) => one.needed('tenant'));

const assigned = {
  tenants: ['free', { name: 'acme', servers: ['one', 'two'] }, { name: 'beta', servers: ['two'] }],
};

describe('tenants of a server', () => {
  test('[CLI-61] are those assigned to its name, and those assigned to none', () => {
    expect(namesOf(of(assigned, { server: 'one' }))).toEqual(['free', 'acme']);
    expect(namesOf(of(assigned, {}, { TIDEMARK_SERVER: 'two' }))).toEqual(['free', 'acme', 'beta']);
    expect(namesOf(of({ ...assigned, server: 'none' }))).toEqual(['free']);
    expect(namesOf(of({ tenants: ['a', 'b'] }))).toEqual(['a', 'b']);
    expect(namesOf(of({ tenant: 'only' }))).toEqual(['only']);
    expect(namesOf(of({}, {}, { TIDEMARK_TENANTS: 'a, b' }))).toEqual(['a', 'b']);
    // Asked for by name, a tenant is served whatever is assigned.
    expect(namesOf(of(assigned, { tenant: 'beta' }))).toEqual(['beta']);
  });

  test('[CLI-61] a server without a name or without tenants is refused', () => {
    expect(() => servedTenants(of(assigned))).toThrow('this one has no name');
    const all = { tenants: [{ name: 'acme', servers: ['one'] }], server: 'three' };
    expect(() => servedTenants(of(all))).toThrow('no tenant is assigned to server three');
    expect(() => of(assigned).forTenant()).toThrow('names one of the tenants: free, acme, beta');
    expect(() => of(assigned).forTenant('gamma')).toThrow('lists no tenant gamma');
  });

  test('[CLI-60] have folders of their own; flags and the entry win', () => {
    const settings = of({
      folder: 'elsewhere',
      nats: { archive: 'kept' },
      tenants: ['acme', { name: 'beta', folder: 'b', schema: 'b.json' }],
    });
    const acme = settings.forTenant('acme');
    expect(acme.text('folder')).toBe(path.join(base, 'data/tenants/acme/server'));
    expect(acme.text('checkpoints.folder')).toBe(path.join(base, 'data/tenants/acme/checkpoints'));
    expect(acme.text('nats.archive')).toBe(path.join(base, 'data/tenants/acme/archive'));
    expect(acme.text('schema')).toBe(path.join(base, 'tidemark.schema.json'));
    const beta = settings.forTenant('beta');
    expect(beta.text('folder')).toBe(path.join(base, 'b'));
    expect(beta.text('schema')).toBe(path.join(base, 'b.json'));
    const flagged = of({ tenants: ['acme'] }, { folder: 'mine' }).forTenant();
    expect(flagged.text('folder')).toBe(path.join(base, 'mine'));
  });

  test('[CLI-61] folders that two tenants share, or one within the other, are refused', () => {
    const shared = (first: object, second: object) => () =>
      servedTenants(
        of({
          tenants: [
            { name: 'a', ...first },
            { name: 'b', ...second },
          ],
        }),
      );
    expect(shared({ folder: 'x' }, { folder: 'x' })).toThrow('folders of its own');
    expect(shared({ folder: 'x' }, { checkpoints: 'x/y' })).toThrow('folders of its own');
    expect(shared({ folder: 'x/y' }, { folder: 'x' })).toThrow('folders of its own');
    expect(shared({ folder: 'x' }, { folder: 'xy' })).not.toThrow();
    expect(() => servedTenants(of({ tenants: ['a', 'b'] }, { folder: 'same' }))).toThrow(
      'folders of its own',
    );
  });

  test('[CLI-5] every problem of the list is told by its place', () => {
    const wrong = () =>
      of({
        tenants: [
          'Acme',
          'a',
          'a',
          5,
          { name: 'con' },
          { name: 'b', servers: [], folder: 1, colour: 'red' },
          '../up',
        ],
      });
    expect(wrong).toThrow(
      /tenants\[0\]\.name: .*tenants\[2\]\.name: a is listed twice.*tenants\[3\]: .*tenants\[4\]\.name: .*tenants\[5\]\.colour: .*tenants\[5\]\.servers: .*tenants\[6\]\.name: /s,
    );
    expect(() => of({ tenants: [] })).toThrow('1 to 256 tenants');
    expect(() => of({ tenants: 'a' }).tenants).not.toThrow();
  });
});
