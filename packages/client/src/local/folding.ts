import type { ReplicaCore } from './replica-core.js';
import type { ReplicaMeta } from './replica-meta.js';

/** Entries moved or removed in one step under the write turn. */
export const foldEntriesPerStep = 2_000;
/** Layers that are left unfolded when there is no need: a great fill is not moved once more. */
const restingLayers = 2;

/** Folds layers and clears dropped ones in bounded steps, between the writes of others. */
export class Folding {
  readonly #core: ReplicaCore;

  constructor(core: ReplicaCore) {
    this.#core = core;
  }

  /** Does at most `steps` steps; true when nothing is left to do. */
  async fold(steps: number): Promise<boolean> {
    for (let i = 0; i < steps; i += 1) if (!(await this.#step(restingLayers))) return true;
    return false;
  }

  /** Folds until at most `layers` are open. */
  async foldTo(layers: number): Promise<void> {
    while (this.#core.meta.layers.length > layers) await this.#step(layers);
  }

  /** One step; false when there was nothing to do. */
  #step(layers: number): Promise<boolean> {
    const core = this.#core;
    return core.turn.run(async () => {
      const { meta } = core;
      if (meta.layers.length > layers) {
        await this.#foldSmallest(meta);
        return true;
      }
      const [layer, ...others] = meta.discarded;
      if (layer === undefined) return false;
      if (await core.store.clearLayer(layer, foldEntriesPerStep))
        await core.commit({ meta: { ...meta, discarded: others } });
      return true;
    });
  }

  /** Folds the smallest layer into the next older one: every entry moved costs a write. */
  async #foldSmallest(meta: ReplicaMeta): Promise<void> {
    const core = this.#core;
    const entries = (i: number): number => meta.layerEntries[meta.layers[i] as number] ?? 0;
    let at = 0;
    for (let i = 1; i < meta.layers.length - 1; i += 1) if (entries(i) < entries(at)) at = i;
    const from = meta.layers[at] as number;
    const into = meta.layers[at + 1] as number;
    await core.stamps.around('all', async () => {
      const isOldest = at + 2 === meta.layers.length;
      if (!(await core.store.foldLayer(from, into, foldEntriesPerStep, isOldest))) return;
      const { [from]: moved = 0, ...rest } = meta.layerEntries;
      await core.commit({
        meta: {
          ...meta,
          layers: meta.layers.filter((layer) => layer !== from),
          layerEntries: { ...rest, [into]: (rest[into] ?? 0) + moved },
        },
        touched: 'all',
      });
    });
  }
}
