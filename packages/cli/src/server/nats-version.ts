import type { NatsPlace } from '@tidemark/node';

/** Version of the NATS at a place, as it tells it. Rejects with `unreachable` or `denied`. */
export const natsVersion = async (place: NatsPlace): Promise<string> => {
  const { connectServer } = await import('@tidemark/server');
  const { systemEntropy } = await import('@tidemark/node');
  const connection = await connectServer(place, systemEntropy);
  try {
    return connection.version();
  } finally {
    await connection.close();
  }
};
