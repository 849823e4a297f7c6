import { devicesTable, replicasTable, tokensTable, type TableId } from '@tidemark/model';
import { enrolmentOf, isDeviceRevoked, tokenOf } from '../fold/decide-identity.js';
import { mergeRecord } from '../fold/stored-record.js';
import type { AppliedStore } from './applied-store.js';

/** Tokens, devices and replicas that one census looks at, of each at most. */
export const censusRecordsMax = 10_000;
/** Entries that a census names of each kind; it counts the others. */
export const censusNamesMax = 20;
const pageRecords = 1_000;
const pageBytes = 1024 * 1024;

/** A device that an operator should look at. */
export interface NamedDevice {
  readonly device: string;
  readonly user: string;
}

/** Number of devices of one kind, and the first of them by name. */
export interface CountedDevices<D extends NamedDevice = NamedDevice> {
  readonly count: number;
  readonly named: readonly D[];
}

/** How enrolment stands in a tenant. Times in ms. */
export interface IdentityCensus {
  readonly required: boolean;
  /** Live replicas that are enrolled, and the devices that they are on. */
  readonly replicas: number;
  readonly devices: number;
  readonly revokedReplicas: number;
  readonly revokedDevices: number;
  readonly usedTokens: number;
  /** Tokens that nobody has used and that are still good. */
  readonly openTokens: CountedDevices<NamedDevice & { readonly expiresOn: number }>;
  /** Devices whose tokens all expired before anybody used one: nothing was enrolled on them. */
  readonly expired: CountedDevices<NamedDevice & { readonly expiresOn: number }>;
  /** Devices that are enrolled and have never synced since. */
  readonly neverSeen: CountedDevices;
}

const counted = <D extends NamedDevice>(all: Iterable<D>): CountedDevices<D> => {
  const list = [...all].sort((a, b) => (a.device < b.device ? -1 : a.device > b.device ? 1 : 0));
  return { count: list.length, named: list.slice(0, censusNamesMax) };
};

async function* rowsOf(applied: AppliedStore, table: TableId) {
  let after: string | undefined;
  for (let count = 0; count < censusRecordsMax;) {
    const { records, next } = await applied.store.scanRecords(table, {
      maxBytes: pageBytes,
      maxRecords: Math.min(pageRecords, censusRecordsMax - count),
      ...(after === undefined ? {} : { after }),
    });
    for (const stored of records) yield { id: stored.id, fields: mergeRecord(stored).row.fields };
    if (next === undefined || records.length === 0) return;
    count += records.length;
    after = next;
  }
}

/** Counts who is enrolled, who could be, and who never came. `nowMs`: time by which tokens expire. */
export const takeCensus = async (applied: AppliedStore, nowMs: number): Promise<IdentityCensus> => {
  const revoked = new Set<string>();
  for await (const { id, fields } of rowsOf(applied, devicesTable))
    if (isDeviceRevoked(fields)) revoked.add(id);
  const live = new Map<string, NamedDevice>();
  const seen = new Set<string>();
  let replicas = 0;
  let revokedReplicas = 0;
  for await (const { id, fields } of rowsOf(applied, replicasTable)) {
    const { device, user, isRevoked } = enrolmentOf(id, fields);
    if (isRevoked || revoked.has(device)) {
      revokedReplicas += 1;
      continue;
    }
    replicas += 1;
    live.set(device, { device, user });
    // A replica has a state from its first grant on: without one it never came further than its enrolment.
    const [state] = await applied.store.getEntries('replicas', [id]);
    if (state !== undefined) seen.add(device);
  }
  let usedTokens = 0;
  const open = new Map<string, NamedDevice & { readonly expiresOn: number }>();
  const expired = new Map<string, NamedDevice & { readonly expiresOn: number }>();
  for await (const { fields } of rowsOf(applied, tokensTable)) {
    const { user, device, expiresOn, usedBy } = tokenOf(fields);
    if (usedBy !== null) usedTokens += 1;
    else if (!revoked.has(device)) {
      const kind = expiresOn < nowMs ? expired : open;
      const before = kind.get(device);
      if (before === undefined || before.expiresOn < expiresOn)
        kind.set(device, { device, user, expiresOn });
    }
  }
  const isWaited = ({ device }: NamedDevice): boolean => !live.has(device) && !open.has(device);
  return {
    required: applied.applied().needsIdentities,
    replicas,
    devices: live.size,
    revokedReplicas,
    revokedDevices: revoked.size,
    usedTokens,
    openTokens: counted(open.values()),
    expired: counted([...expired.values()].filter(isWaited)),
    neverSeen: counted([...live.values()].filter(({ device }) => !seen.has(device))),
  };
};
