/** What a download says about a record: its new row, its new version only, its eviction, or nothing. */
export type MembershipChange = 'upsert' | 'touch' | 'evict' | 'none';

/**
 * Decides what a replica learns of a changed record from its membership *then* and *now*.
 *
 * `projectionChanged` says whether a field that the scope projects changed; it matters for in/in only.
 * A record that was and is outside yields `none`: not even its id leaves the server.
 */
export const membershipChange = (
  then: boolean,
  now: boolean,
  projectionChanged = true,
): MembershipChange => {
  if (!now) return then ? 'evict' : 'none';
  return then && !projectionChanged ? 'touch' : 'upsert';
};
