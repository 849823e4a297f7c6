import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectServer } from '@tidemark/server';
import { natsTransport, openReplica, systemEntropy } from '@tidemark/node';
import { decodeCustomization, isLeft, schemaFromCustomization } from '@tidemark/model';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { CommandFolder, until } from '../processes/command-line.js';
import { NatsServer } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';
import { buildProgram } from '../processes/program.js';
import { startServing, stopServing } from '../processes/serving.js';

const folders: CommandFolder[] = [];
const servers: NatsServer[] = [];
let entry = '';
beforeAll(async () => {
  entry = await buildProgram('tidemark');
});
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.dispose();
  for (const one of servers.splice(0)) await one.dispose();
});

const startNats = async (): Promise<NatsServer> => {
  const nats = await NatsServer.start();
  servers.push(nats);
  return nats;
};

/** A folder with tenants `acme` and `beta` on a NATS. */
const begin = async (nats: NatsServer, more: object = {}): Promise<CommandFolder> => {
  const folder = new CommandFolder(entry);
  folders.push(folder);
  await folder.json('init', '--tenant', 'acme');
  const config = {
    schema: 'tidemark.schema.json',
    tenants: ['acme', { name: 'beta' }],
    user: 'operator',
    nats: { servers: [nats.url] },
    device: { user: 'user-a' },
    ...more,
  };
  writeFileSync(folder.file('tidemark.config.json'), JSON.stringify(config));
  return folder;
};

const tenants = ['acme', 'beta'] as const;
const customizationOf = (json: unknown) => {
  const decoded = decodeCustomization(json);
  if (isLeft(decoded)) throw new Error('the schema is none');
  return decoded.right;
};
const markOf = (tenant: string): string => `canary${tenant}7Q`;

/** Files below a folder that hold a text. */
const holding = (folder: string, text: string): readonly string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => path.join(one.parentPath, one.name))
    .filter((file) => readFileSync(file).includes(text));

interface Ready {
  readonly ready: boolean;
  readonly tenants: readonly {
    readonly tenant: string;
    readonly state: string;
    readonly failure: { readonly code: string } | null;
  }[];
}
const readiness = async (http: string): Promise<{ readonly status: number } & Ready> => {
  const response = await fetch(`${http}/readyz`);
  return { status: response.status, ...((await response.json()) as Ready) };
};

describeOnNats('tenants of one process', () => {
  test('[CLI-60, CLI-65, CLI-66] equal ids share no byte; logs and metrics hold no value', async () => {
    const nats = await startNats();
    const folder = await begin(nats);
    const serving = await startServing(folder);
    const schema = schemaFromCustomization(
      customizationOf(JSON.parse(folder.read('tidemark.schema.json'))),
    );
    const events: unknown[] = [];
    const device = async (tenant: string, name: string) => {
      const transport = natsTransport({ servers: [nats.url] });
      const replica = await openReplica({
        folder: folder.file('data/tenants', tenant, name),
        tenant,
        user: 'user-a',
        schema,
        transport,
        onEvent: (event) => events.push(event),
      });
      const close = async (): Promise<void> => {
        await replica.close();
        await transport.disconnect();
      };
      return { replica, close };
    };
    /** The same edits under the same ids in both tenants, with a conflict. */
    const live = async (tenant: string): Promise<void> => {
      const mark = markOf(tenant);
      writeFileSync(
        folder.file(`${tenant}.ndjson`),
        `{"id":"a","subject":"${mark}a","status":"planned"}\n{"id":"b","subject":"${mark}b","status":"${mark}"}\n`,
      );
      const imported = folder.call(['import', 'visits', `${tenant}.ndjson`, '--tenant', tenant]);
      expect((await imported).code).toBe(3);
      const [one, two] = await Promise.all([device(tenant, 'device'), device(tenant, 'other')]);
      for (const { replica } of [one, two]) await replica.sync();
      await one.replica.editText('visits', 'a', 'report', `${mark}text`);
      await one.replica.update('visits', 'a', { status: 'done' });
      await one.replica.sync();
      await two.replica.update('visits', 'a', { status: 'cancelled', subject: `${mark}c` });
      const log = await two.replica.sync();
      expect([log.result, log.parked]).toEqual(['synced', 1]);
      expect(await two.replica.errors.list({ state: 'waiting' })).toHaveLength(1);
      await Promise.all([one.close(), two.close()]);
    };
    await Promise.all(tenants.map(live));
    // Calls that are refused and messages that are none, with the marks in them.
    const connection = await connectServer({ servers: [nats.url] }, systemEntropy);
    const garbage = Buffer.from(tenants.map(markOf).join());
    for (const tenant of tenants) {
      await connection.core.request(`tm.${tenant}.ask.pull.-.r1`, garbage, { timeout: 5_000 });
      connection.core.publish(`tm.${tenant}.ops.1.-.r1`, garbage);
    }
    await connection.core.flush();
    await connection.close();
    await until(() => serving.lines().filter(({ event }) => event === 'refused').length === 2);

    const metrics = await (await fetch(`${serving.http}/metrics`)).text();
    for (const tenant of tenants) {
      expect(metrics).toContain(`tidemark_ready{tenant="${tenant}"} 1`);
      expect(metrics).toContain(`tidemark_open_sync_errors{tenant="${tenant}"} 1`);
      expect(metrics).toContain(`tidemark_replicas{tenant="${tenant}"} 2`);
      expect(metrics).toMatch(
        new RegExp(`tidemark_pending_operations{tenant="${tenant}",replica="[0-9a-f]{32}"} 0`),
      );
      expect(metrics).toContain(
        `tidemark_refused_calls_total{tenant="${tenant}",code="newer-protocol"} 1`,
      );
      expect(metrics).toContain(
        `tidemark_run_duration_seconds_count{tenant="${tenant}",result="synced"} 4`,
      );
      await folder.json('tenant', 'export', tenant, `copies/${tenant}`);
    }
    // The guide names what is there, and all of it.
    const guide = readFileSync(
      fileURLToPath(new URL('../../docs/guides/monitor.md', import.meta.url)),
      'utf8',
    );
    const namesIn = (text: string, pattern: RegExp): readonly string[] =>
      [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ''))].sort();
    expect(namesIn(guide, /`(tidemark_[a-z_]+)`/g)).toEqual(
      namesIn(metrics, /^# TYPE (tidemark_[a-z_]+) /gm),
    );
    const health = await readiness(serving.http);
    const runs = serving.lines().filter(({ event }) => event === 'run');
    expect(await stopServing(serving)).toBe(0);
    expect(runs).toHaveLength(8);
    for (const run of runs)
      expect(Object.keys(run)).toEqual(
        expect.arrayContaining(['time', 'level', 'tenant', 'run', 'replica', 'user', 'durationMs']),
      );
    const told = [
      serving.out(),
      (await serving.ended).err,
      metrics,
      JSON.stringify([health, events]),
    ];
    for (const text of told) expect(text).not.toMatch(/canary/);
    for (const tenant of tenants) {
      const other = tenants.find((one) => one !== tenant) ?? '';
      for (const place of [
        folder.file('data/tenants', tenant),
        folder.file('copies', tenant),
        path.join(nats.folder, 'store', 'jetstream', '$G', 'streams', `OPS-${tenant}-1`),
      ]) {
        const wanted = holding(place, markOf(tenant));
        expect(wanted, place).not.toEqual([]);
        const own = holding(place, markOf(other));
        // The message that is none was sent to both, with both marks.
        expect(own.filter((file) => !readFileSync(file).includes(garbage))).toEqual([]);
      }
    }
  });

  test('[CLI-62, CLI-64] a broken tenant does not stop the other, and is tried again', async () => {
    const nats = await startNats();
    const folder = await begin(nats, {
      tenants: ['acme', { name: 'beta', schema: 'beta.schema.json' }],
    });
    const serving = await startServing(folder);
    const broken = await readiness(serving.http);
    expect(broken).toMatchObject({ status: 503, ready: false });
    expect(broken.tenants).toMatchObject([
      { tenant: 'acme', state: 'ready', failure: null },
      { tenant: 'beta', state: 'failed', failure: { code: 'invalid-option' } },
    ]);
    expect((await fetch(`${serving.http}/readyz?tenant=acme`)).status).toBe(200);
    expect((await fetch(`${serving.http}/healthz`)).status).toBe(200);
    expect((await fetch(`${serving.http}/metrics`, { method: 'POST' })).status).toBe(405);
    expect((await fetch(`${serving.http}/elsewhere`)).status).toBe(404);
    const metrics = await (await fetch(`${serving.http}/metrics`)).text();
    expect(metrics).toContain('tidemark_ready{tenant="beta"} 0');
    expect(await folder.json('device', 'sync', '--tenant', 'acme')).toMatchObject({
      result: 'synced',
    });
    writeFileSync(folder.file('beta.schema.json'), folder.read('tidemark.schema.json'));
    await until(() =>
      serving.lines().some((one) => one['tenant'] === 'beta' && one['event'] === 'ready'),
    );
    expect(await readiness(serving.http)).toMatchObject({ status: 200, ready: true });
    expect(await folder.json('device', 'sync', '--tenant', 'beta')).toMatchObject({
      result: 'synced',
    });
    // NATS that is gone is no readiness.
    await nats.kill();
    const becomes = async (wanted: number): Promise<void> => {
      const untilMs = Date.now() + 30_000;
      while ((await readiness(serving.http)).status !== wanted)
        expect(Date.now(), `${wanted}`).toBeLessThan(untilMs);
    };
    await becomes(503);
    await nats.run();
    await becomes(200);
    expect(await stopServing(serving)).toBe(0);
  });
});
