import { serverStep, tallyId, tenant } from './kill-schema.js';
import { NatsServer } from './nats-server.js';
import { cutNewestBlock } from './stream-damage.js';
import { pause, StreamWorld, type StreamServer } from './stream-world.js';

/** What became of a rewind that servers met at different places. */
export interface SleepingServers {
  readonly incarnations: number;
  readonly broughtBack: number;
  /** Messages that the third server has and the one that began the incarnation had not. */
  readonly lacked: number;
  readonly problems: readonly string[];
}

const settleMsMax = 60_000;

const eventsOf = (servers: readonly StreamServer[], type: string) =>
  servers.flatMap(({ heard }) =>
    heard.flatMap((one) => (one.say === 'event' && one.event.type === type ? [one.event] : [])),
  );

/**
 * Three servers, paused one after the other while the last one goes on; the stream loses its tail; the first
 * two wake and meet the rewind at once, the third, most advanced one wakes later.
 */
export const wakeServers = async (writesEach: number): Promise<SleepingServers> => {
  const nats = await NatsServer.start();
  const world = await StreamWorld.open([nats]);
  const problems: string[] = [];
  let batch = 0;
  const write = async (server: StreamServer): Promise<void> => {
    for (let i = 0; i < writesEach; i += 1) {
      server.tell({ say: 'write', batch } as never);
      while (!server.heard.some((one) => one.say === 'written' && one.batch === batch))
        await pause(5);
      batch += 1;
    }
  };
  const until = async (
    servers: readonly StreamServer[],
    incarnation: number,
    tally: number,
  ): Promise<void> => {
    const endsAtMs = Date.now() + settleMsMax;
    for (;;) {
      const states = await Promise.all(servers.map((server) => world.state(server)));
      if (states.every((one) => one.incarnation === incarnation && one.tally === tally)) return;
      if (Date.now() > endsAtMs) {
        const shown = states.map((one) => `${one.incarnation}: ${one.tally}`).join(', ');
        problems.push(`servers show ${shown} in place of ${incarnation}: ${tally}`);
        return;
      }
      await pause(200);
    }
  };
  try {
    const one = await world.serve('one');
    const two = await world.serve('two');
    const three = await world.serve('three');
    const ana = await world.device('ana');
    await ana.create('tally', { total: 0 }, { id: tallyId });
    await ana.sync();
    await write(three);
    await until([one, two, three], 1, batch * serverStep);
    one.channel.kill('SIGSTOP');
    await write(three);
    await until([two], 1, batch * serverStep);
    const ofTwo = batch * serverStep;
    two.channel.kill('SIGSTOP');
    await write(three);
    await ana.sync();
    three.channel.kill('SIGSTOP');
    await nats.kill();
    await cutNewestBlock(nats, `OPS-${tenant}-1`, 0.3);
    await nats.run();
    one.channel.kill('SIGCONT');
    two.channel.kill('SIGCONT');
    await until([one, two], 2, ofTwo);
    await ana.increment('tally', tallyId, 'total', 1);
    const log = await ana.sync();
    if (log.result !== 'synced') problems.push(`a run ended ${log.result} ${log.error ?? ''}`);
    three.channel.kill('SIGCONT');
    const all = batch * serverStep + 1;
    await until([one, two, three], 2, all);
    await ana.sync();
    problems.push(...(await world.differences(all)));
    const incarnations = eventsOf(world.servers, 'incarnation').length;
    const broughtBack = eventsOf([three], 'input-brought-back').reduce(
      (sum, event) => sum + (event.type === 'input-brought-back' ? event.messages : 0),
      0,
    );
    // A call that was under way when the second one was paused may keep it from standing in time.
    const isByFirst = eventsOf([one], 'incarnation').length > 0;
    const lacked = isByFirst ? 2 * writesEach : writesEach;
    return { incarnations, broughtBack, lacked, problems };
  } finally {
    await world.close();
    await nats.dispose();
  }
};
