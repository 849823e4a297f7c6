import { CrowdPart } from './crowd-part.js';
import { DevicePart } from './device-part.js';
import { ProcessPart } from './process-part.js';
import { ServerPart } from './server-part.js';

type Calls<Part> = { readonly [K in keyof Part]: Part[K] };

/** What an actor can be asked for: it plays the server, a device, a crowd of them, or several of these. */
export type ActorCalls = Calls<ServerPart> &
  Calls<DevicePart> &
  Calls<CrowdPart> &
  Calls<ProcessPart> & { readonly close: () => Promise<void> };

/** Parts that one process plays. */
export class ActorParts {
  readonly #server = new ServerPart();
  readonly #device = new DevicePart(() => this.#server.server().transport);
  readonly #crowd = new CrowdPart(() => this.#server.server().transport);
  readonly #process = new ProcessPart();

  /** Calls the part that has a function of this name. */
  async call(name: string, args: readonly unknown[]): Promise<unknown> {
    if (name === 'close') return this.close();
    for (const part of [this.#server, this.#device, this.#crowd, this.#process])
      if (name in part) {
        const work = (part as unknown as Readonly<Record<string, unknown>>)[name];
        return (work as (...given: unknown[]) => unknown).apply(part, [...args]);
      }
    throw new Error(`no actor can ${name}`);
  }

  async close(): Promise<void> {
    await this.#crowd.disband();
    await this.#device.disconnect();
    await this.#server.closeServer();
  }
}
