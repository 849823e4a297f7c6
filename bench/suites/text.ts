import { loadAutomergeCrdt } from '@tidemark/crdt-automerge';
import { nodeCrypto } from '@tidemark/node';
import { noteId, typedWord } from '../harness/crm.js';
import type { Suite } from '../harness/suite.js';

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

/** Two devices type into one note while offline; the time until both show what both typed. */
export const text: Suite = {
  name: 'text',
  run: async (bench) => {
    const edits = bench.options.records ?? editsDefault;
    const each = Math.ceil(edits / 2);
    const bare = await bareChanges(each);
    await bench.measure(
      { case: 'converge', records: 1, moved: 2 * each },
      {
        sample: () =>
          bench.inWorld(async (world) => {
            await world.server.call('createNote');
            for (const author of [1, 2]) {
              await world.openDevice(`device-${author}`);
              await world.device.call('sync');
              await world.device.call('type', author, each);
              await world.device.call('closeDevice');
            }
            await world.start();
            let seconds = 0;
            const notes: string[] = [];
            // The first device comes a second time, for what the other one typed.
            for (const author of [1, 2, 1]) {
              await world.openDevice(`device-${author}`);
              seconds += (await world.device.call('sync')).seconds;
              notes.push(await world.device.call('note'));
              if (notes.length < 3) await world.device.call('closeDevice');
            }
            const spent = await world.spent();
            const last = notes[2] ?? '';
            let verified = last === notes[1];
            for (const author of [1, 2])
              for (let i = 0; i < each; i += 1) verified &&= last.includes(typedWord(author, i));
            return { seconds, wireBytes: null, verified, ...spent };
          }),
        floor: () => {
          const started = performance.now();
          const applied = bare.crdt.apply(bare.genesis, bare.changes);
          if (applied.tag !== 'applied') throw new Error(`the floor was ${applied.tag}`);
          return Promise.resolve((performance.now() - started) / 1_000);
        },
      },
    );
  },
};
