import type { Server, WriteOperation } from '@tidemark/server';
import type { CheckpointPlace } from './checkpoint-place.js';
import type { Desk, DeskRecord } from './desk.js';
import type { LooseTables } from './open-folder.js';

/** Sync errors that `status` counts at most. */
export const countedErrorsMax = 1_000;

/** Desk over a server that this process has open. */
export const localDesk = (
  server: Server<LooseTables>,
  context: {
    readonly checkpoints: CheckpointPlace;
    /** Addresses at which this process serves devices; undefined when it does not. */
    readonly nats?: readonly string[];
  },
): Desk => ({
  customization: () => Promise.resolve(server.customization()),
  publish: (customization, user) => server.publish({ customization }, { user }),
  write: async (operations, user) => {
    await server.write(operations as readonly WriteOperation<LooseTables>[], { user });
  },
  records: async (table, wanted) =>
    (await server.query(table, wanted)) as unknown as readonly DeskRecord[],
  errors: (wanted) => server.errors.list(wanted),
  error: async (id) => (await server.errors.get(id)) ?? null,
  resolve: (id, input) => server.errors.resolve(id, input),
  explain: (table, id, field, limit) => server.explain(table, id, field, limit),
  syncLogs: (limit) => server.syncLogs(limit),
  status: async () => {
    const { state, checkpoint, failure } = server.status();
    const open = await server.errors.list({ state: 'open', limit: countedErrorsMax });
    return {
      tenant: state.tenant,
      running: context.nats !== undefined,
      nats: context.nats ?? null,
      incarnation: state.incarnation,
      n: state.n,
      customizationVersion: state.customizationVersion,
      digest: state.digest,
      now: state.now,
      counts: { ...state.counts },
      checkpoint:
        checkpoint === undefined ? null : { incarnation: checkpoint.incarnation, n: checkpoint.n },
      openErrors: open.length,
      moreErrors: open.length >= countedErrorsMax,
      failure: failure === undefined ? null : { code: failure.code, message: failure.message },
    };
  },
  identities: async (after) => ({
    required: server.identities.required(),
    replicas: await server.identities.list(after),
    receiptKeys: server.identities.receiptKeys,
  }),
  census: () => server.identities.census(),
  requireIdentities: (by) => server.identities.require(by),
  createToken: (wanted) => server.identities.createToken(wanted),
  revoke: (wanted) => server.identities.revoke(wanted),
  moment: () => {
    const { incarnation, n, lives } = server.status().state;
    return Promise.resolve({ incarnation, n, lives: lives.map(({ id, from }) => ({ id, from })) });
  },
  checkpoint: async () => {
    await server.settle();
    await server.checkpoint();
    return context.checkpoints;
  },
  close: () => server.close(),
});
