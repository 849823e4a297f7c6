import { TidemarkError, utf8Decode, utf8Encode } from '@tidemark/model';
import { spokenProtocols, type Protocols } from '@tidemark/protocol';

/** What a server says to a link that opens: the generation that takes envelopes now. */
export interface Hello {
  readonly generation: number;
}

/** Encodes the answer to a hello, with the versions of the protocol that the server speaks. */
export const encodeHello = (
  { generation }: Hello,
  { oldest, newest }: Protocols = spokenProtocols,
): Uint8Array => utf8Encode(JSON.stringify({ protocol: newest, oldest, generation }));

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;

/**
 * Reads the answer to a hello. Throws `newer-protocol` when the server has left behind what this side
 * speaks without saying since when, `protocol-too-old` when it says so, `malformed-message`.
 */
export const decodeHello = (bytes: Uint8Array, own: Protocols = spokenProtocols): Hello => {
  let json: unknown;
  try {
    json = JSON.parse(utf8Decode(bytes));
  } catch {
    json = undefined;
  }
  if (typeof json === 'object' && json !== null && 'protocol' in json && 'generation' in json) {
    const { protocol, generation } = json;
    const oldest = 'oldest' in json ? json.oldest : protocol;
    if (isCount(oldest) && oldest > own.newest)
      throw new TidemarkError(
        'oldest' in json ? 'protocol-too-old' : 'newer-protocol',
        'the server no longer speaks the protocol of this device',
        { own: own.newest, oldest },
      );
    if (isCount(generation)) return { generation };
  }
  throw new TidemarkError('malformed-message', 'the answer to a hello cannot be decoded');
};
