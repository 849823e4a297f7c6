import { TidemarkError, utf8Decode, utf8Encode } from '@tidemark/model';
import { protocolVersion } from '@tidemark/protocol';

/** What a server says to a link that opens: the generation that takes envelopes now. */
export interface Hello {
  readonly generation: number;
}

/** Encodes the answer to a hello. */
export const encodeHello = ({ generation }: Hello): Uint8Array =>
  utf8Encode(JSON.stringify({ protocol: protocolVersion, generation }));

/** Reads the answer to a hello. Throws `newer-protocol`, `malformed-message`. */
export const decodeHello = (bytes: Uint8Array): Hello => {
  let json: unknown;
  try {
    json = JSON.parse(utf8Decode(bytes));
  } catch {
    json = undefined;
  }
  if (typeof json === 'object' && json !== null && 'protocol' in json && 'generation' in json) {
    const { protocol, generation } = json;
    if (typeof protocol === 'number' && protocol > protocolVersion)
      throw new TidemarkError('newer-protocol', 'the server speaks a newer protocol');
    if (typeof generation === 'number' && Number.isSafeInteger(generation) && generation >= 1)
      return { generation };
  }
  throw new TidemarkError('malformed-message', 'the answer to a hello cannot be decoded');
};
