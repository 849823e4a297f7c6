import type { SyncMode, SyncResult } from '@tidemark/model';
import type { StoreDamage } from '@tidemark/ports';

/** Things that a server tells while it runs; ids and counts only. */
export type ServerEvent =
  | { readonly type: 'damage'; readonly damage: StoreDamage }
  | {
      readonly type: 'checkpoint-loaded';
      readonly checkpoint: string;
      readonly n: number;
      readonly unreadable: readonly string[];
    }
  | {
      /** Input was missing: the server goes on from what it has, under a new incarnation. */
      readonly type: 'incarnation';
      readonly incarnation: number;
      readonly n: number;
      /** Messages that the store had folded and the input lacks now; 0 when it cannot be told. */
      readonly missingMessages: number;
      readonly checkpoint: string | null;
    }
  | {
      /**
       * The server was put back to an older copy of itself: it goes on from that, under a new incarnation,
       * and replicas offer again and repair. `shown` is the version that proves it.
       */
      readonly type: 'rewound';
      readonly incarnation: number;
      readonly n: number;
      readonly shown: { readonly incarnation: number; readonly n: number };
      readonly by: 'cursor' | 'checkpoint' | 'store';
    }
  | {
      /**
       * This server has folded the beginning of a new incarnation. Each server tells it, also where whoever began
       * the incarnation died before it could say so.
       */
      readonly type: 'incarnation-folded';
      readonly incarnation: number;
      readonly n: number;
    }
  | {
      /** The space of the input crossed 70% or 90% of its limit, in one direction or the other. */
      readonly type: 'input-space';
      readonly bytes: number;
      readonly bytesMax: number;
      /** Share that was reached; 0 when the alarm ended. */
      readonly alarmPercent: number;
    }
  | {
      /**
       * This server cannot go on from its own store and waits for a checkpoint. `other-line`: the others went
       * on from another state. `input-gap`: messages that it needs are not there any more.
       */
      readonly type: 'awaiting-checkpoint';
      readonly reason: 'other-line' | 'input-gap';
      /** Last message that it has folded. */
      readonly generation: number;
      readonly seq: number;
    }
  | {
      /** Messages that the line of history lacked were stored again: kept by this server, or in the stream. */
      readonly type: 'input-brought-back';
      readonly messages: number;
      /** Messages of which it can no longer be told whether the line has them: not stored again. */
      readonly tooOld: number;
    }
  | {
      /**
       * Another server came to another state from the same input, and this one folded it again. `own-wrong`:
       * this server rebuilds itself from that. `unknown`: neither checkpoint nor the whole input is there.
       */
      readonly type: 'digest-differs';
      readonly incarnation: number;
      readonly n: number;
      readonly generation: number;
      readonly seq: number;
      readonly verdict: 'own-wrong' | 'other-wrong' | 'unknown';
    }
  /** The connection to NATS has ended for good: this process can serve no more. */
  | { readonly type: 'connection-ended'; readonly code: string }
  | {
      /** A message of the input is not what it claims: it was put aside, and no position moved. */
      readonly type: 'quarantined';
      readonly reason: string;
      readonly replica: string | null;
      readonly device: string | null;
      readonly generation: number;
      readonly seq: number;
    }
  | { readonly type: 'checkpoint-written'; readonly n: number }
  | {
      /** A replica sent the log of a run. `error` is a code of ours, or `other`. */
      readonly type: 'run';
      readonly replica: string;
      readonly user: string;
      readonly run: string;
      readonly mode: SyncMode;
      readonly result: SyncResult;
      readonly error: string | null;
      readonly durationMs: number;
      readonly uploadedOperations: number;
      readonly downloadedBytes: number;
      readonly pendingOperations: number;
      readonly parked: number;
    }
  | {
      /** A call of a replica was refused. */
      readonly type: 'refused';
      readonly replica: string;
      readonly user: string;
      readonly endpoint: string;
      readonly code: string;
    }
  | { readonly type: 'horizon'; readonly incarnation: number; readonly n: number }
  | { readonly type: 'fold-failed'; readonly code: string; readonly halted: boolean }
  | { readonly type: 'background-failed'; readonly work: string; readonly code: string };
