import { EditDraft } from './edit-draft.js';
import { EditSession } from './edit-session.js';
import type { ReplicaCore } from './replica-core.js';

/** Most edits that share a write turn. */
export const editsPerTurnMax = 64;
/** Bytes of transactions and records from which on a write takes no further edit. */
export const editBytesPerWriteMax = 1_024 * 1_024;

/** One edit: it runs on a session, and says whether it has added anything to the draft. */
export type EditWork = (session: EditSession) => Promise<boolean>;

interface Waiting {
  readonly work: EditWork;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
  /** Called when the edit is written, if there was anything to write. */
  readonly written: () => void;
}

interface Group {
  readonly edits: Waiting[];
  /** Call of the write turn that the group waits with. */
  readonly call: number;
}

/**
 * EditGroups lets edits that wait for their turns one behind the other share one, and its write: a write costs
 * the same for one edit as for many. They stay in the order of their calls, also to other writers, and each
 * is refused alone.
 */
export class EditGroups {
  readonly #core: ReplicaCore;
  /** The newest group, as long as it waits. */
  #waiting: Group | undefined;

  constructor(core: ReplicaCore) {
    this.#core = core;
  }

  /**
   * Runs an edit in its turn and writes it at `os`. `written` is called in the turn, behind the write. Rejects
   * with what the edit or its write throws, and with `replica-closed`.
   */
  run(work: EditWork, written: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const edit = { work, written, resolve, reject };
      const { turn } = this.#core;
      const waiting = this.#waiting;
      if (waiting?.call === turn.calls && waiting.edits.length < editsPerTurnMax)
        waiting.edits.push(edit);
      else this.#begin(edit);
    });
  }

  #begin(edit: Waiting): void {
    const { turn } = this.#core;
    const edits = [edit];
    const group: Group = { edits, call: turn.calls + 1 };
    const isFree = turn.holder === 'nobody';
    turn
      .run(() => {
        if (this.#waiting === group) this.#waiting = undefined;
        return this.#runAll(edits);
      }, true)
      .catch((cause: unknown) => {
        if (this.#waiting === group) this.#waiting = undefined;
        for (const { reject } of edits) reject(cause);
      });
    // Who has the turn already takes nobody along.
    if (!isFree) this.#waiting = group;
  }

  async #runAll(edits: readonly Waiting[]): Promise<void> {
    this.#core.fsyncs.countTurns(edits.length - 1);
    for (let at = 0; at < edits.length;) at = await this.#writeSome(edits, at);
  }

  /** Runs edits from a place on and writes them together; returns the place behind them. */
  async #writeSome(edits: readonly Waiting[], from: number): Promise<number> {
    const draft = new EditDraft(this.#core);
    const done: { readonly edit: Waiting; readonly isDrafted: boolean }[] = [];
    let at = from;
    for (; at < edits.length && draft.bytes < editBytesPerWriteMax; at += 1) {
      const edit = edits[at] as Waiting;
      try {
        done.push({ edit, isDrafted: await edit.work(new EditSession(draft)) });
      } catch (cause) {
        edit.reject(cause);
      }
    }
    try {
      await draft.write();
    } catch (cause) {
      for (const { edit, isDrafted } of done)
        if (isDrafted) edit.reject(cause);
        else edit.resolve();
      return at;
    }
    for (const { edit, isDrafted } of done) {
      if (isDrafted) edit.written();
      edit.resolve();
    }
    return at;
  }
}
