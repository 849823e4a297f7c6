import { fromHex, toHex, utf8Encode } from '@tidemark/model';
import type { Mac } from './cursor.js';

/** Time for which a challenge may be signed, ms; servers' clocks may differ by a tenth of it. */
export const challengeMsMax = 600_000;

const codeOf = (tenant: string, replica: string, at: string, mac: Mac): Uint8Array =>
  mac(utf8Encode(JSON.stringify(['tidemark-challenge-1', tenant, replica, at])));

/** Makes a challenge for a replica: any server of the tenant knows it again, and none keeps it. */
export const makeChallenge = (
  { tenant, replica }: { readonly tenant: string; readonly replica: string },
  nowMs: number,
  mac: Mac,
): string => `${nowMs}.${toHex(codeOf(tenant, replica, String(nowMs), mac))}`;

/** Whether a challenge was made for the replica by a server of the tenant, and not too long ago. */
export const challengeFits = (
  challenge: string,
  { tenant, replica }: { readonly tenant: string; readonly replica: string },
  nowMs: number,
  mac: Mac,
): boolean => {
  const [at = '', code = '', ...rest] = challenge.split('.', 3);
  const given = fromHex(code);
  if (rest.length > 0 || given?.length !== 32 || !/^\d{1,15}$/.test(at)) return false;
  const ageMs = nowMs - Number(at);
  if (ageMs > challengeMsMax || ageMs < -challengeMsMax / 10) return false;
  const expected = codeOf(tenant, replica, at, mac);
  let difference = 0;
  for (let i = 0; i < expected.length; i += 1)
    difference |= (expected[i] as number) ^ (given[i] as number);
  return difference === 0;
};
