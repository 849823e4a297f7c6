import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto } from '@tidemark/node';
import { noteId, typedWord } from '../harness/crm.js';
import type { Suite } from '../harness/suite.js';
import type { BenchWorld } from '../harness/world.js';

/** A twentieth of the records of other suites: at 100,000 edits the issue of the suite. */
const editsDefault = 2_000;

/** Changes of two authors who type so many words each into one note, made with the CRDT alone. */
const bareChanges = async (each: number) => {
  const crdt = await loadAutomergeCrdt({ hash: nodeCrypto.sha256 });
  const key = { tenant: 'bench', table: 2, record: noteId, field: 1 };
  const genesis = crdt.genesis(key, '');
  const changes: Uint8Array[] = [];
  for (const author of [1, 2]) {
    let document = genesis;
    let length = 0;
    const actor = new Uint8Array(16).fill(author);
    for (let i = 0; i < each; i += 1) {
      const insert = typedWord(author, i);
      const edit = crdt.spliceText(document, length, 0, insert, actor, 0);
      ({ document } = edit);
      length += insert.length;
      changes.push(edit.changes);
    }
  }
  return { crdt, genesis, changes };
};

const name = (author: number): string => `device-${author}`;

/** Two devices that typed offline, each closed. */
const typeOffline = async (world: BenchWorld, each: number): Promise<void> => {
  await world.server.call('createNote');
  for (const author of [1, 2]) {
    await world.openDevice(name(author));
    await world.device.call('sync');
    await world.device.call('type', author, each);
    await world.device.call('closeDevice');
  }
};

/** Lets a device do its part; returns its note. */
const visit = async (world: BenchWorld, author: number, work: () => Promise<void>) => {
  await world.openDevice(name(author));
  await work();
  const note = await world.device.call('note');
  await world.device.call('closeDevice');
  return note;
};

const holdsAll = (note: string, each: number): boolean => {
  for (const author of [1, 2])
    for (let i = 0; i < each; i += 1) if (!note.includes(typedWord(author, i))) return false;
  return true;
};

/** Two devices type into one note while offline; the time until both show what both typed. */
export const text: Suite = {
  name: 'text',
  run: async (bench) => {
    const edits = bench.options.records ?? editsDefault;
    const each = Math.ceil(edits / 2);
    const bare = await bareChanges(each);
    const floor = (): Promise<number> => {
      const started = performance.now();
      const applied = bare.crdt.apply(bare.genesis, bare.changes);
      if (applied.tag !== 'applied') throw new Error(`the floor was ${applied.tag}`);
      return Promise.resolve((performance.now() - started) / 1_000);
    };
    const named = { records: 1, moved: 2 * each };
    await bench.measure(
      { case: 'apply', ...named },
      {
        sample: () =>
          bench.inWorld(async (world) => {
            await typeOffline(world, each);
            let seconds = 0;
            let bytes = 0;
            await world.start();
            for (const author of [1, 2])
              await visit(world, author, async () => {
                const uploaded = await world.device.call('upload');
                seconds += uploaded.seconds;
                ({ bytes } = uploaded);
              });
            const spent = await world.spent();
            const verified = holdsAll(await world.server.call('serverNote'), each);
            return { seconds, wireBytes: bytes, verified, ...spent };
          }),
        floor,
      },
    );
    await bench.measure(
      { case: 'converge', ...named },
      {
        sample: () =>
          bench.inWorld(async (world) => {
            await typeOffline(world, each);
            let seconds = 0;
            let bytes = 0;
            const notes: string[] = [];
            await world.start();
            // The first device comes a second time, for what the other one typed.
            for (const author of [1, 2, 1])
              notes.push(
                await visit(world, author, async () => {
                  const synced = await world.device.call('sync');
                  seconds += synced.seconds;
                  bytes += synced.bytes;
                }),
              );
            const spent = await world.spent();
            const last = notes[2] ?? '';
            const verified = last === notes[1] && holdsAll(last, each);
            return { seconds, wireBytes: bytes, verified, ...spent };
          }),
        floor,
      },
    );
  },
};
