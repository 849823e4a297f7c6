import type { StoreDamage } from '@tidemark/ports';

/** What happened to a replica that an application may want to know; ids and counts, never values. */
export type ReplicaEvent =
  | {
      /** Damage that was met at open. `newEpoch`: published operations are missing or differ. */
      readonly type: 'damage';
      readonly found: readonly StoreDamage[];
      readonly newEpoch: boolean;
      readonly lostFrom: number | null;
      /** Operations lost from the middle of the log that no receipt covers. */
      readonly lost: readonly { readonly from: number; readonly to: number }[];
    }
  | {
      /** Server and log differed above `common`: what lies above continues in a new epoch. */
      readonly type: 'fork-healed';
      readonly common: number;
      readonly epoch: number;
    }
  | {
      /** Another copy of this folder goes on under the old id; this one took a new id. */
      readonly type: 'clone-detected';
      readonly previous: string;
      readonly replica: string;
      readonly common: number;
    }
  | {
      /** The server forgot operations that it had decided: they are offered again. */
      readonly type: 'rewound';
      readonly knownTo: number;
      readonly mergedTo: number;
    }
  | {
      /**
       * The server was put back to before operations that the log had given up, since a checkpoint held
       * them: they are gone from both. The indexes name them.
       */
      readonly type: 'lost';
      readonly from: number;
      readonly to: number;
      readonly operations: number;
    }
  | {
      /** The server's history began again from a checkpoint: the image is repaired by difference. */
      readonly type: 'incarnation';
      readonly previous: number;
      readonly incarnation: number;
    }
  | {
      /**
       * The server asks who this is, and the application has not answered, or was refused. Edits go on; sync
       * goes on by itself with the next credentials that are accepted.
       */
      readonly type: 'needs-auth';
      readonly reason: string;
    }
  | {
      readonly type: 'enrolled';
      readonly replica: string;
      readonly user: string;
      readonly device: string;
    }
  | { readonly type: 'epoch'; readonly epoch: number }
  | {
      /** `waits`: only a foreground run applies it. `refused`: it takes something away. */
      readonly type: 'customization';
      readonly version: number;
      readonly result: 'applied' | 'waits' | 'refused';
    }
  | {
      /** The image is repaired by difference, and why. */
      readonly type: 'repair';
      readonly reason: 'incarnation' | 'horizon' | 'scope' | 'damage' | 'cursor';
    };
