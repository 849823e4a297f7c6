import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { IdentityCensus } from '@tidemark/server';
import type { Settings } from '../config/settings.js';
import { failed, ok, warning, type Finding } from './finding.js';
import { IdentityFolder, identityFiles } from './identity-folder.js';
import { isThere } from './paths.js';

/** Time before the end of a credential of NATS from which on `doctor` warns, ms. */
export const credentialWarnMs = 14 * 24 * 3_600_000;

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');

interface Named {
  readonly count: number;
  readonly named: readonly { readonly device: string; readonly user: string }[];
}
/** `3: tablet-1 (ann), tablet-2 (ben), ...` */
const show = ({ count, named }: Named): string =>
  `${count}: ${named.map(({ device, user }) => `${device} (${user})`).join(', ')}${count > named.length ? ', ...' : ''}`;

/** Who is enrolled, who could be, and who never came. */
export const checkIdentities = (census: IdentityCensus): readonly Finding[] => {
  const { required, replicas, devices, revokedReplicas, revokedDevices } = census;
  const { openTokens, expired, neverSeen, usedTokens } = census;
  const isUsed = replicas + revokedReplicas + usedTokens + openTokens.count + expired.count > 0;
  const enrolled = `${replicas} replicas on ${devices} devices are enrolled, ${revokedReplicas} replicas and ${revokedDevices} devices are revoked`;
  const findings: Finding[] = [];
  if (required) findings.push(ok('identities', `demanded; ${enrolled}`));
  else if (isUsed)
    findings.push(
      warning(
        'identities',
        `not demanded, although ${enrolled}: whoever reaches NATS is heard`,
        '`tidemark identity require` demands them from then on; there is no way back.',
      ),
    );
  else findings.push(ok('identities', 'not demanded: whoever reaches NATS may read and write all'));
  if (openTokens.count > 0) {
    const first = Math.min(...openTokens.named.map(({ expiresOn }) => expiresOn));
    findings.push(
      ok('tokens', `not used yet, ${show(openTokens)}; the first is good until ${day(first)}`),
    );
  }
  if (expired.count > 0)
    findings.push(
      warning(
        'tokens',
        `expired before anybody used them, ${show(expired)}`,
        '`tidemark enroll` writes a new device file; `tidemark revoke --name <device>` ends a device that will not come.',
      ),
    );
  if (neverSeen.count > 0)
    findings.push(
      warning(
        'devices',
        `enrolled and never seen since, ${show(neverSeen)}`,
        'Let them sync: if their runs fail, their status tells why. `tidemark revoke --name <device>` ends one that is lost.',
      ),
    );
  return findings;
};

/** End of a credential of NATS in ms: null for none, undefined when the text holds no credential. */
export const credentialEnd = (text: string): number | null | undefined => {
  const jwt = /BEGIN NATS USER JWT-+\s+([\w-]+\.[\w-]+\.[\w-]+)\s/.exec(text)?.[1];
  try {
    const body = Buffer.from(jwt?.split('.')[1] ?? '', 'base64url').toString('utf8');
    const { exp } = JSON.parse(body) as { readonly exp?: unknown };
    if (exp === undefined || exp === 0) return null;
    return typeof exp === 'number' ? exp * 1_000 : undefined;
  } catch {
    return undefined;
  }
};

const checkCredential = async (file: string, nowMs: number): Promise<Finding> => {
  const mend =
    'Name a credential that is good by nats.credentials: `tidemark identity init` makes one without an end, or your NATS operator does.';
  try {
    const end = credentialEnd(await readFile(file, 'utf8'));
    const bad = (found: string): Finding => ({ check: 'credential', state: 'failed', found, mend });
    if (end === undefined) return bad(`${file} holds no credential of NATS`);
    if (end === null) return ok('credential', `${file} has no end`);
    if (end <= nowMs) return bad(`${file} ended on ${day(end)}`);
    const text = `${file} ends on ${day(end)}`;
    return end - nowMs < credentialWarnMs
      ? warning('credential', text, mend)
      : ok('credential', text);
  } catch (cause) {
    return failed('credential', cause);
  }
};

const keysMend =
  'Put a copy of the folder of `tidemark identity init` there, or name it by identity.folder: keys that are lost cannot be made again, only replaced by new ones for NATS and every device.';

/** Keys of the operator: without them no device gets a credential, and none is taken away. */
const checkKeys = async (folder: string, isNeeded: boolean): Promise<Finding | undefined> => {
  const keys = (found: string): Finding => warning('keys of NATS', found, keysMend);
  try {
    const opened = await IdentityFolder.open(folder);
    if (opened === undefined) {
      // Files of it that are there without their keys were once complete.
      const isRest = await isThere(path.join(folder, identityFiles.devices));
      return isNeeded || isRest ? keys(`there are none in ${folder}`) : undefined;
    }
    const missing: string[] = [];
    for (const name of [identityFiles.server, identityFiles.system, identityFiles.auth])
      if (!(await isThere(path.join(folder, name)))) missing.push(name);
    return missing.length === 0
      ? ok('keys of NATS', `complete in ${folder}`)
      : keys(`${folder} lacks ${missing.join(', ')}`);
  } catch (cause) {
    return { ...failed('keys of NATS', cause), mend: keysMend };
  }
};

/** Credential and keys of NATS of this configuration. `isDemanded`: a tenant of it demands identities. */
export const checkCredentials = async (
  settings: Settings,
  isDemanded: boolean,
  nowMs: number,
): Promise<readonly Finding[]> => {
  const findings: Finding[] = [];
  const file = settings.text('nats.credentials');
  if (file !== undefined) findings.push(await checkCredential(file, nowMs));
  const keys = await checkKeys(settings.needed('identity.folder'), isDemanded);
  if (keys !== undefined) findings.push(keys);
  return findings;
};
