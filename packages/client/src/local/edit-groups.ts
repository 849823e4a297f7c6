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
  /** May be called a second time, on another draft, when the first write fails. */
  readonly work: EditWork;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
  /** Called when the edit, and all that it saw, is written; also when it had nothing to add. */
  readonly written: () => void;
  /** True when the write failed whose draft the edit saw: it runs for the last time. */
  readonly isAgain: boolean;
}

/** Edit that ran on a draft. */
interface Ran {
  readonly edit: Waiting;
  /** `alone`: it saw only what is stored, and added nothing. */
  readonly part: 'alone' | 'saw' | 'added';
  /** Settles it once what it saw is stored. */
  readonly settle: () => void;
}

interface Group {
  readonly edits: Waiting[];
  /** Call of the write turn that the group waits with. */
  readonly call: number;
}

/**
 * EditGroups lets edits that wait for their turns one behind the other share one, and its write: a write costs
 * the same for one edit as for many. They stay in the order of their calls, also to other writers, and each
 * is refused alone. None is settled before the write of what it saw: if that fails, those that added nothing
 * to it run once more on what is stored.
 */
export class EditGroups {
  readonly #core: ReplicaCore;
  /** The newest group, as long as it waits. */
  #waiting: Group | undefined;

  constructor(core: ReplicaCore) {
    this.#core = core;
  }

  /**
   * Runs an edit in its turn and writes it at `os`. `written` is called in the turn, behind the write.
   * `work` may be called twice. Rejects with what the edit or its write throws, and with `replica-closed`.
   */
  run(work: EditWork, written: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const edit = { work, written, resolve, reject, isAgain: false };
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
    // Each round settles an edit, or runs some for the last time.
    for (let left = edits; left.length > 0;) left = await this.#writeSome(left);
  }

  /** Runs edits from the first on and writes them together; returns those that are left, in their order. */
  async #writeSome(edits: readonly Waiting[]): Promise<readonly Waiting[]> {
    const draft = new EditDraft(this.#core);
    const ran: Ran[] = [];
    for (const edit of edits) {
      if (draft.bytes >= editBytesPerWriteMax) break;
      ran.push(await runOn(draft, edit));
    }
    const behind = edits.slice(ran.length);
    try {
      await draft.write();
    } catch (cause) {
      return [...settleFailed(ran, cause), ...behind];
    }
    for (const { settle } of ran) settle();
    return behind;
  }
}

const runOn = async (draft: EditDraft, edit: Waiting): Promise<Ran> => {
  const part = draft.isEmpty ? 'alone' : 'saw';
  try {
    const isAdded = await edit.work(new EditSession(draft));
    const settle = (): void => {
      edit.written();
      edit.resolve();
    };
    return { edit, part: isAdded ? 'added' : part, settle };
  } catch (cause) {
    return { edit, part, settle: () => edit.reject(cause) };
  }
};

/** Settles the edits of a write that failed; returns those that run once more: what they saw never came to be. */
const settleFailed = (ran: readonly Ran[], cause: unknown): readonly Waiting[] => {
  const again: Waiting[] = [];
  for (const { edit, part, settle } of ran)
    if (part === 'alone') settle();
    else if (part === 'added' || edit.isAgain) edit.reject(cause);
    else again.push({ ...edit, isAgain: true });
  return again;
};
