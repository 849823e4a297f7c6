import path from 'node:path';
import {
  natsTransport,
  openReplica,
  type NatsTransport,
  type Replica,
  type Transport,
} from '@tidemark/node';
import { schema, siteFilter } from './crm.js';
import { editedStage } from './edits.js';
import { timed, type Place } from './server-part.js';

type Member = Replica<typeof schema>;

/** Runs in a row that may end before their receipts. */
const runsMax = 1_000;

/** Many devices of one process, each with the records of one site. */
export class CrowdPart {
  readonly #local: () => Transport;
  readonly #members: Member[] = [];
  #transport: NatsTransport | undefined;
  #round = 0;

  /** `local` gives the transport to a server of this process. */
  constructor(local: () => Transport) {
    this.#local = local;
  }

  async #each(atATime: number, work: (member: Member, at: number) => Promise<void>): Promise<void> {
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let at = next++; at < this.#members.length; at = next++) {
        const member = this.#members[at];
        if (member !== undefined) await work(member, at);
      }
    };
    await Promise.all(Array.from({ length: atATime }, lane));
  }

  /** Opens a device for each site from one number up to another, and gets its records. */
  async openCrowd(place: Place, from: number, to: number, atATime: number): Promise<void> {
    const { folder, tenant, natsUrl } = place;
    if (natsUrl !== undefined) this.#transport ??= natsTransport({ servers: [natsUrl] });
    const transport = this.#transport ?? this.#local();
    for (let site = from; site < to; site += 1)
      this.#members.push(
        await openReplica({
          folder: path.join(folder, `site-${site}`),
          tenant,
          user: `site-${site}`,
          schema,
          transport,
          scope: { tables: { contacts: { filter: siteFilter(site) } } },
        }),
      );
    await this.syncCrowd(atATime);
  }

  /** Syncs every member until nothing is left to do; returns the seconds that each took. */
  async syncCrowd(atATime: number): Promise<readonly number[]> {
    const seconds: number[] = [];
    await this.#each(atATime, async (member) => {
      seconds.push(
        await timed(async () => {
          for (let run = 0; run < runsMax; run += 1) {
            const { result, error } = await member.sync();
            if (result === 'synced') return;
            if (result !== 'pending') throw new Error(`sync ended ${result} ${error ?? ''}`);
          }
          throw new Error('a sync did not end');
        }),
      );
    });
    return seconds;
  }

  /** Every member edits `count` times, in one transaction. */
  async editCrowd(count: number): Promise<number> {
    this.#round += 1;
    await this.#each(1, async (member) => {
      const own = await member.query('contacts');
      await member.transaction(async (edits) => {
        for (let i = 0; i < count; i += 1)
          await edits.update('contacts', own[i % own.length]?.id ?? '', {
            stage: editedStage(this.#round, i),
          });
      });
    });
    return count * this.#members.length;
  }

  /** Lets every member follow the server by itself. */
  async connectCrowd(): Promise<void> {
    await this.#each(1, (member) => {
      member.connect();
      return Promise.resolve();
    });
  }

  /** Resolves when every member shows a record of its site whose stage is the given one. */
  async awaitCrowd(stage: string): Promise<void> {
    await this.#each(this.#members.length, async (member) => {
      await new Promise<void>((resolve, reject) => {
        const stop = member.watchWith(
          'contacts',
          { filter: `stage = "${stage}"`, limit: 1 },
          (found) => {
            if (found.length === 0) return;
            resolve();
            // The way to stop is known only after the first call.
            queueMicrotask(() => stop());
          },
          reject,
        );
      });
    });
  }

  /** Fingerprint of what the first member holds. */
  async crowdFingerprint(): Promise<string> {
    const [first] = this.#members;
    if (first === undefined) throw new Error('the crowd is empty');
    return first.fingerprint('contacts');
  }

  /** Number of records that the members hold together. */
  async crowdCount(): Promise<number> {
    let sum = 0;
    for (const member of this.#members) sum += await member.count('contacts');
    return sum;
  }

  async disband(): Promise<void> {
    await this.#each(1, (member) => member.close());
    this.#members.length = 0;
    await this.#transport?.disconnect();
    this.#transport = undefined;
  }
}
