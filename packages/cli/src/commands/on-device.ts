import type { Call } from '../call.js';
import { openDevice, type OpenDevice } from '../device/open-device.js';
import type { ExitCode } from '../exit-code.js';

/** Opens the configured device, does some work, and closes it whatever happened. */
export const onDevice = async (
  call: Call,
  online: boolean,
  work: (device: OpenDevice) => Promise<ExitCode>,
): Promise<ExitCode> => {
  const device = await openDevice(await call.settings(), online);
  try {
    return await work(device);
  } finally {
    await device.close();
  }
};
