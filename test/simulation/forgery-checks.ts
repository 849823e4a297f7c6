import { utf8Decode } from '@tidemark/model';
import { expectEqual } from '../convergence/checks.js';
import { contentOf } from '../convergence/refold.js';
import { forgedText } from './forgeries.js';
import type { ServerActor } from './server-actor.js';
import type { SimWorld } from './sim-world.js';

const entriesMax = 1_000;

interface Aside {
  readonly place: string;
  readonly reason: string;
}

interface Forged extends Aside {
  /** Whether every server told of it once, as nothing kept it from that. */
  readonly isInPeace: boolean;
}

/** Forged messages that were folded, in order, with why each is put aside. */
export const forgedMessages = (world: SimWorld): readonly Forged[] =>
  world.folded().flatMap(({ message, name }) => {
    const { generation, seq } = message.position;
    const reason = world.forged.get(name);
    const isInPeace = world.forgedInPeace.has(name);
    return reason === undefined ? [] : [{ place: `${generation}/${seq}`, reason, isInPeace }];
  });

/** What a server keeps in quarantine of replicas that were forged. */
const keptAside = async ({ store }: ServerActor): Promise<readonly Aside[]> => {
  const kept = await store?.scanEntries('quarantine', { gt: '', lt: '~', limit: entriesMax });
  return (kept ?? []).map(({ value }) => {
    const length = new DataView(value.buffer, value.byteOffset).getUint32(1);
    const { reason, position } = JSON.parse(utf8Decode(value.subarray(5, 5 + length))) as {
      readonly reason: string;
      readonly position: { readonly generation: number; readonly seq: number };
    };
    return { place: `${position.generation}/${position.seq}`, reason };
  });
};

/**
 * Nothing forged was applied. Where no history was lost, each forgery lies in quarantine once, with its reason,
 * and servers told of it by that reason; once each, where no process ended since.
 */
export const checkForgeries = async (world: SimWorld, server: ServerActor): Promise<void> => {
  if (world.plan.identities !== true || server.store === null) return;
  // The demand is an entry of the input: where all of that is gone, nobody knows of it until it is made again.
  if (server.merger()?.state().needsIdentities === false) {
    if (!world.lostInput) throw new Error(`${server.name} forgot that identities are demanded`);
    world.context.saw('the demand for identities was lost with the input');
    return;
  }
  if ((await contentOf(server.store)).includes(forgedText))
    throw new Error(`${server.name} holds what was forged`);
  if (world.inexact.size > 0) return;
  const expected = forgedMessages(world);
  const places = new Set(expected.map(({ place }) => place));
  const kept = await keptAside(server);
  expectEqual(
    `${server.name}: forgeries in quarantine`,
    kept.filter(({ place }) => places.has(place)),
    expected.map(({ place, reason }) => ({ place, reason })),
  );
  const told = new Map<string, string[]>();
  for (const event of server.events)
    if (event.type === 'quarantined') {
      const place = `${event.generation}/${event.seq}`;
      told.set(place, [...(told.get(place) ?? []), event.reason]);
    }
  for (const { place, reason, isInPeace } of expected) {
    const reasons = told.get(place) ?? [];
    if (isInPeace) expectEqual(`${server.name}: told of ${place}`, reasons, [reason]);
    else if (reasons.some((one) => one !== reason))
      throw new Error(`${server.name}: ${place} is ${reason}, and was told as ${reasons.join()}`);
  }
  if (expected.some(({ isInPeace }) => isInPeace))
    world.context.saw('each forgery was told of once');
};
