import { registerTransportContract } from '@tidemark/testkit';
import { createLocalTransport, type LocalTransport } from '@tidemark/transport-local';
import { describe, expect, it } from 'vitest';

const timer = {
  sleep: (ms: number, signal?: { addEventListener: (type: 'abort', end: () => void) => void }) =>
    new Promise<void>((resolve) => {
      const handle = setTimeout(resolve, ms);
      signal?.addEventListener('abort', () => {
        clearTimeout(handle);
        resolve();
      });
    }),
};

registerTransportContract('transport-local', () => {
  let transport: LocalTransport | undefined;
  return Promise.resolve({
    connect: (service) => {
      transport = createLocalTransport({ service, timer });
      return Promise.resolve(transport);
    },
    cut: () => {
      transport?.disconnectAll();
      return Promise.resolve();
    },
    dispose: () => Promise.resolve(),
  });
});

describe('transport-local', () => {
  it('[SRV-66] refuses links while it is offline or without a service', async () => {
    const transport = createLocalTransport({ service: null, timer });
    const caller = { tenant: 't', replica: 'r', user: 'u' };
    await expect(transport.open(caller)).rejects.toMatchObject({ code: 'unreachable' });
    transport.setService({
      publish: () => Promise.resolve(),
      answer: (_caller, _endpoint, body) => Promise.resolve(body),
      onTick: () => () => undefined,
    });
    transport.setOnline(false);
    await expect(transport.open(caller)).rejects.toMatchObject({ code: 'unreachable' });
    transport.setOnline(true);
    const link = await transport.open(caller);
    expect(transport.openLinks()).toBe(1);
    transport.setOnline(false);
    await expect(link.request('pull', new Uint8Array(1))).rejects.toMatchObject({
      code: 'unreachable',
    });
    expect(transport.openLinks()).toBe(0);
  });
});
