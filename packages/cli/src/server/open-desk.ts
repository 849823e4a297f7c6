import { TidemarkError } from '@tidemark/model';
import type { Settings } from '../config/settings.js';
import { readSchemaFile } from '../config/schema-file.js';
import { checkpointPlaceOf } from './checkpoint-place.js';
import { connectDesk } from './control-client.js';
import type { Desk } from './desk.js';
import { localDesk } from './local-desk.js';
import { openFolder, requireServer } from './open-folder.js';

/** Which server a command wants. */
export interface DeskWanted {
  /** Begins a server with the customization of the schema file where there is none yet. */
  readonly begin?: boolean;
  /** Only looks: where no server runs, no input and no incarnation begins. */
  readonly look?: boolean;
}

/** Longest wait for a process that holds the folder and does not answer yet: a server that starts, ms. */
export const startingMsMax = 2_000;
const startingLookMs = 100;

/**
 * Opens the desk of the configured server: the running one, else its folder. Rejects with `folder-in-use`
 * when another process holds the folder and does not answer within 2 s.
 */
export const openDesk = async (settings: Settings, wanted: DeskWanted = {}): Promise<Desk> => {
  for (let waitedMs = 0; ; waitedMs += startingLookMs) {
    const running = await connectDesk(settings.needed('folder'));
    if (running !== undefined) return running;
    try {
      return await openOwn(settings, wanted);
    } catch (cause) {
      const isHeld = cause instanceof TidemarkError && cause.code === 'folder-in-use';
      if (!isHeld || waitedMs >= startingMsMax) throw cause;
      await new Promise((resolve) => setTimeout(resolve, startingLookMs));
    }
  }
};

const openOwn = async (settings: Settings, wanted: DeskWanted): Promise<Desk> => {
  if (wanted.begin !== true) await requireServer(settings);
  const server = await openFolder(settings, wanted.look === true ? { look: true } : {});
  const desk = localDesk(server, { checkpoints: await checkpointPlaceOf(settings) });
  try {
    if (wanted.begin === true && server.customization().version === 0)
      await desk.publish(await readSchemaFile(settings), settings.needed('user'));
    return desk;
  } catch (cause) {
    await desk.close();
    throw cause;
  }
};

/** Opens the desk, does some work, and closes it whatever happened. */
export const withDesk = async <A>(
  settings: Settings,
  wanted: DeskWanted,
  work: (desk: Desk) => Promise<A>,
): Promise<A> => {
  const desk = await openDesk(settings, wanted);
  try {
    return await work(desk);
  } finally {
    await desk.close();
  }
};
