import { createServer, type Server as HttpServer } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openReplica } from '@tidemark/node';
import { defineSchema, field, oidcAuthenticator, openServer } from '@tidemark/server';
import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const issuer = 'https://issuer.example';
const audience = 'tidemark';
const about = { tenant: 'acme', replica: 'r', device: null };

describe('tokens of an OpenID Connect issuer', () => {
  let http: HttpServer;
  let address = '';
  let fetched = 0;
  let isUp = true;
  const served: JWK[] = [];
  const keys = new Map<string, CryptoKey>();
  type CryptoKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];

  const addKey = async (kid: string, alg: string): Promise<void> => {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    served.push({ ...(await exportJWK(publicKey)), kid, alg });
    keys.set(kid, privateKey);
  };

  const sign = (
    kid: string,
    alg: string,
    claims: Readonly<Record<string, unknown>> = {},
    secret: CryptoKey | Uint8Array | undefined = keys.get(kid),
  ): Promise<string> => {
    if (secret === undefined) throw new Error('no such key');
    const nowS = Math.floor(Date.now() / 1_000);
    const whole = { iss: issuer, aud: audience, sub: 'ann', iat: nowS, exp: nowS + 60, ...claims };
    const kept = Object.entries(whole).filter(([, value]) => value !== undefined);
    return new SignJWT(Object.fromEntries(kept)).setProtectedHeader({ alg, kid }).sign(secret);
  };

  beforeAll(async () => {
    await addKey('one', 'ES256');
    http = createServer((_, response) => {
      fetched += 1;
      response.statusCode = isUp ? 200 : 503;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ keys: served }));
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const at = http.address();
    if (typeof at !== 'object' || at === null) throw new Error('no address');
    address = `http://127.0.0.1:${at.port}/jwks`;
  });
  afterAll(async () => {
    await new Promise((resolve) => http.close(resolve));
  });

  test('[IDN-26] a token counts when issuer, audience, time and signature are right', async () => {
    const hook = oidcAuthenticator({ issuer, audience, jwks: address });
    const nowS = Math.floor(Date.now() / 1_000);
    expect(await hook(await sign('one', 'ES256'), about)).toEqual({ user: 'ann' });
    expect(await hook(await sign('one', 'ES256', { exp: nowS - 30 }), about)).toEqual({
      user: 'ann',
    });
    const other = (await generateKeyPair('ES256')).privateKey;
    const secret = new TextEncoder().encode('x'.repeat(32));
    const refused = [
      await sign('one', 'ES256', { exp: nowS - 90 }),
      await sign('one', 'ES256', { exp: undefined }),
      await sign('one', 'ES256', { nbf: nowS + 90 }),
      await sign('one', 'ES256', { iss: 'https://issuer.example/' }),
      await sign('one', 'ES256', { aud: 'other' }),
      await sign('one', 'ES256', { sub: undefined }),
      await sign('one', 'ES256', { sub: '' }),
      await sign('one', 'ES256', {}, other),
      await sign('one', 'HS256', {}, secret),
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"ann"}').toString('base64url')}.`,
      'no token',
      '',
    ];
    for (const token of refused) expect([token, await hook(token, about)]).toEqual([token, null]);
    expect(fetched).toBe(1);
    const inline = oidcAuthenticator({
      issuer,
      audience,
      jwks: { keys: served },
      userClaim: 'email',
      clockToleranceMs: 0,
    });
    const mail = await sign('one', 'ES256', { email: 'ann@example.org' });
    expect(await inline(mail, about)).toEqual({ user: 'ann@example.org' });
    expect(await inline(await sign('one', 'ES256'), about)).toBeNull();
    expect(
      await inline(await sign('one', 'ES256', { exp: nowS - 5, email: 'a' }), about),
    ).toBeNull();
    for (const bad of [{ issuer: '' }, { audience: '' }, { jwks: 'x' }, { clockToleranceMs: -1 }])
      expect(() => oidcAuthenticator({ issuer, audience, jwks: address, ...bad })).toThrow(
        'invalid-option',
      );
  });

  test('[IDN-26] keys that cannot be fetched are no refusal', async () => {
    const hook = oidcAuthenticator({ issuer, audience, jwks: address });
    isUp = false;
    await expect(hook(await sign('one', 'ES256'), about)).rejects.toMatchObject({
      code: 'unreachable',
      recovery: 'retry-later',
    });
    isUp = true;
    expect(await hook(await sign('one', 'ES256'), about)).toEqual({ user: 'ann' });
  });

  test('[IDN-26] a device signs in with the token of an issuer', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tm-oidc-'));
    const schema = defineSchema({
      version: 1,
      tables: { things: { id: 1, fields: { name: field.string(1, { required: true }) } } },
    });
    const server = await openServer({
      folder: path.join(folder, 'server'),
      tenant: 'acme',
      schema,
      identities: 'required',
      authenticate: oidcAuthenticator({ issuer, audience, jwks: address }),
    });
    const replica = await openReplica({
      folder: path.join(folder, 'device'),
      tenant: 'acme',
      user: 'ann',
      schema,
      transport: server.transport,
      credentials: async () => ({ token: await sign('one', 'ES256') }),
    });
    try {
      await replica.create('things', { name: 'one' });
      expect((await replica.sync()).result).toBe('synced');
      expect(await server.query('things')).toMatchObject([{ name: 'one' }]);
    } finally {
      await replica.close();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
