import type { Settings } from '../config/settings.js';
import { writeBackup, type FoundBackup } from './backup-folder.js';
import { showCheckpointPlace, withCheckpoints } from './checkpoint-place.js';
import type { Desk } from './desk.js';

/** Lets the server of a desk write a checkpoint, and copies it into a folder of its own below `target`. */
export const takeBackup = async (
  settings: Settings,
  desk: Desk,
  target: string,
  more: Readonly<Record<string, string>> = {},
): Promise<FoundBackup> => {
  const place = await desk.checkpoint();
  const { nats } = await desk.status();
  return withCheckpoints(settings, place, nats, (checkpoints) =>
    writeBackup({
      checkpoints,
      place: showCheckpointPlace(place),
      folder: settings.needed('folder'),
      tenant: settings.needed('tenant'),
      target,
      takenOn: new Date().toISOString(),
      more,
    }),
  );
};
