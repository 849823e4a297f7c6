import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { natsTransport, openReplica, systemEntropy, type NatsPlace } from '@tidemark/node';
import { connectServer, defineSchema, field, openServer } from '@tidemark/server';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loopbackCertificate } from '../processes/certificate.js';
import { NatsServer } from '../processes/nats-server.js';
import { describeOnNats } from '../processes/on-nats.js';

const schema = defineSchema({
  version: 1,
  tables: { things: { id: 1, fields: { name: field.string(1, { required: true }) } } },
});

describeOnNats('TLS', () => {
  let folder = '';
  let encrypted: NatsServer;
  let plain: NatsServer;
  let ca = '';
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'tidemark-tls-'));
    const { certificate, key } = loopbackCertificate();
    ca = certificate;
    const [certificateFile, keyFile] = [path.join(folder, 'a.pem'), path.join(folder, 'a.key')];
    await writeFile(certificateFile, certificate);
    await writeFile(keyFile, key, { mode: 0o600 });
    const names = [certificateFile, keyFile].map((file) => JSON.stringify(file));
    encrypted = await NatsServer.start(`tls { cert_file: ${names[0]}, key_file: ${names[1]} }`);
    plain = await NatsServer.start();
  });
  afterAll(async () => {
    await encrypted.dispose();
    await plain.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const outcome = async (place: NatsPlace): Promise<string> => {
    try {
      await (await connectServer(place, systemEntropy)).close();
      return 'connected';
    } catch (cause) {
      return (cause as { code?: string }).code ?? String(cause);
    }
  };

  test('[IDN-70] server and device speak through TLS with a certificate of their own authority', async () => {
    const place: NatsPlace = { servers: [encrypted.url.replace('nats:', 'tls:')], tls: { ca } };
    const server = await openServer({
      folder: path.join(folder, 'server'),
      tenant: 'acme',
      schema,
      nats: { connection: place },
    });
    const transport = natsTransport(place);
    const replica = await openReplica({
      folder: path.join(folder, 'device'),
      tenant: 'acme',
      user: 'ann',
      schema,
      transport,
    });
    try {
      await replica.create('things', { name: 'one' });
      expect((await replica.sync()).result).toBe('synced');
      expect(await server.query('things')).toMatchObject([{ name: 'one' }]);
    } finally {
      await replica.close();
      await transport.disconnect();
      await server.close();
    }
  });

  test('[IDN-70] an unknown authority, and a NATS without TLS where it was asked for, are refused', async () => {
    const tls = encrypted.url.replace('nats:', 'tls:');
    expect(await outcome({ servers: [tls], tls: { ca } })).toBe('connected');
    expect(await outcome({ servers: [tls] })).toBe('unreachable');
    const other = loopbackCertificate().certificate;
    expect(await outcome({ servers: [tls], tls: { ca: other } })).toBe('unreachable');
    expect(await outcome({ servers: [plain.url] })).toBe('connected');
    expect(await outcome({ servers: [plain.url], tls: { ca } })).toBe('unreachable');
    expect(await outcome({ servers: [plain.url.replace('nats:', 'tls:')] })).toBe('unreachable');
  });
});
