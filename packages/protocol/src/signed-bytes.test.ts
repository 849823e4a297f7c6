import { utf8Decode, type Envelope, type Receipt } from '@tidemark/model';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { challengeFits, challengeMsMax, makeChallenge } from './challenge.js';
import { callBytes, cloneBytes, envelopeBytes, receiptBytes } from './signed-bytes.js';
import { encodeSignedCall, openSignedCall } from './signed-call.js';
import { encodeFrame } from './frame.js';

const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest());
const envelope: Envelope = {
  ...{ replica: 'r1', epoch: 2, user: 'ann', from: 3, to: 9, offsetMs: -5, signature: 'x' },
  headBefore: new Uint8Array(32),
  headAfter: new Uint8Array(32).fill(255),
  transactions: [],
};
const receipt: Receipt = {
  ...{ incarnation: 1, epoch: 2, mergedTo: 9, head: 'ff', version: 7, archivedTo: 3 },
};

describe('what is signed', () => {
  test('[IDN-2] the four texts', () => {
    const zeros = '0'.repeat(64);
    expect(utf8Decode(envelopeBytes('acme', envelope))).toBe(
      `["tidemark-envelope-1","acme","r1","ann",2,3,9,-5,"${zeros}","${'f'.repeat(64)}"]`,
    );
    const body = new Uint8Array(0);
    const call = { tenant: 'acme', replica: 'r1', endpoint: 'pull', challenge: 'c', body };
    expect(utf8Decode(callBytes(call, sha256))).toBe(
      '["tidemark-call-1","acme","r1","pull","c","e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]',
    );
    expect(utf8Decode(cloneBytes('acme', 'r1', 'r2', 'ab'))).toBe(
      '["tidemark-clone-1","acme","r1","r2","ab"]',
    );
    const named = { ...receipt, signature: 'x', keyId: 'y' };
    expect(utf8Decode(receiptBytes('acme', 'r1', named))).toBe(
      '["tidemark-receipt-1","acme","r1",1,2,9,"ff",7,3]',
    );
  });

  test('[IDN-2] no two facts give one text, whatever is in their names', () => {
    const name = fc.string({ unit: fc.constantFrom('a', '"', ',', '\\', '[', '\u2028', 'é') });
    const four = fc.tuple(name, name, name, name);
    fc.assert(
      fc.property(four, four, (one, other) => {
        const text = (names: readonly [string, string, string, string]): string =>
          utf8Decode(cloneBytes(...names));
        expect(text(one) === text(other)).toBe(JSON.stringify(one) === JSON.stringify(other));
      }),
    );
  });

  test('[IDN-40] a challenge is of one replica, one key and a time', () => {
    const mac = (bytes: Uint8Array): Uint8Array => sha256(bytes);
    const who = { tenant: 'acme', replica: 'r1' };
    const nowMs = 1_750_000_000_000;
    const challenge = makeChallenge(who, nowMs, mac);
    const fits = (text: string, more = {}, atMs = nowMs, key = mac): boolean =>
      challengeFits(text, { ...who, ...more }, atMs, key);
    expect(fits(challenge)).toBe(true);
    expect(fits(challenge, {}, nowMs + challengeMsMax)).toBe(true);
    expect(fits(challenge, {}, nowMs + challengeMsMax + 1)).toBe(false);
    expect(fits(challenge, {}, nowMs - challengeMsMax / 10 - 1)).toBe(false);
    expect(fits(challenge, { replica: 'r2' })).toBe(false);
    expect(fits(challenge, { tenant: 'other' })).toBe(false);
    expect(fits(challenge, {}, nowMs, (bytes) => sha256(sha256(bytes)))).toBe(false);
    const [at = '', code = ''] = challenge.split('.');
    for (const bad of [
      '',
      '.',
      `${at}.`,
      `${Number(at) + 1}.${code}`,
      `${challenge}.x`,
      `x.${code}`,
    ])
      expect(fits(bad)).toBe(false);
  });

  test('[IDN-40] a proof is told apart from a message without one', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.string(), fc.string(), (body, challenge, signature) => {
        const bytes = encodeSignedCall({ challenge, signature }, body);
        expect(openSignedCall(bytes)).toEqual({ proof: { challenge, signature }, body });
        // Bytes that are no signed call are left as they are.
        expect(openSignedCall(body)).toEqual({ proof: null, body });
      }),
    );
    for (const json of [{ proof: 'x' }, { proof: {} }, { have: 1 }, { proof: { challenge: 1 } }]) {
      const bytes = encodeFrame(json);
      expect(openSignedCall(bytes)).toEqual({ proof: null, body: bytes });
    }
  });
});
