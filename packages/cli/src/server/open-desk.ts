import type { Settings } from '../config/settings.js';
import { readSchemaFile } from '../config/schema-file.js';
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

/**
 * Opens the desk of the configured server: the running one, else its folder. Rejects with `folder-in-use`
 * when another process holds the folder and does not answer.
 */
export const openDesk = async (settings: Settings, wanted: DeskWanted = {}): Promise<Desk> => {
  const running = await connectDesk(settings.needed('folder'));
  if (running !== undefined) return running;
  if (wanted.begin !== true) await requireServer(settings);
  const server = await openFolder(settings, wanted.look === true ? { look: true } : {});
  const desk = localDesk(server, { checkpoints: settings.needed('checkpoints.folder') });
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
