/** Field that all workloads edit. */
export const editedField = 'stage';

/** Records `from`, `from + step`, ... of which the edited field becomes `value`. */
export interface Edits {
  readonly from: number;
  readonly step: number;
  readonly count: number;
  readonly value: string;
}

/** Where a server keeps its data, and how much of it there is. */
export interface ServerPlace {
  readonly folder: string;
  readonly records: number;
  /** Folder into which npm installed the engine. */
  readonly installed: string;
  readonly natsUrl: string;
}

/** Where a device keeps its data, and the server's address. */
export interface DevicePlace {
  readonly folder: string;
  readonly name: string;
  readonly installed: string;
  readonly address: string;
}

/** The server of an engine, in a process of its own. */
export interface PeerServer {
  /** Opens on an empty folder and writes the records; resolves with the address for devices. */
  readonly start: (place: ServerPlace) => Promise<string>;
  readonly change: (edits: Edits) => Promise<void>;
  /** Records whose edited field has a value. */
  readonly seen: (value: string) => Promise<number>;
  /** The edited field of a record. */
  readonly read: (i: number) => Promise<string>;
  readonly close: () => Promise<void>;
}

/** A device of an engine, in a process of its own. */
export interface PeerDevice {
  readonly open: (place: DevicePlace) => Promise<void>;
  /** Brings everything that the server has, and nothing else if the engine can tell them apart. */
  readonly pull: () => Promise<void>;
  /** Edits offline, with what the engine has for many edits. */
  readonly edit: (edits: Edits) => Promise<void>;
  /** Sends the edits; resolves when the engine knows that the server has them. */
  readonly push: () => Promise<void>;
  readonly count: () => Promise<number>;
  readonly read: (i: number) => Promise<string>;
  /** Conflicts that the device can show to a person. */
  readonly conflicts: () => Promise<number>;
  readonly close: () => Promise<void>;
}

/** What people ask about an engine before its figures. */
export interface PeerFacts {
  /** What survives a killed process: nothing is compared with what keeps nothing. */
  readonly keeps: 'both sides' | 'the device' | 'nothing';
  readonly durableDevice: string;
  readonly durableServer: string;
  readonly settings: string;
  readonly onConflict: string;
}

/** An engine as the workloads drive it. */
export interface Peer {
  readonly facts: PeerFacts;
  readonly server: () => PeerServer;
  readonly device: () => PeerDevice;
}

/** Positions of the records that edits concern. */
export const positions = ({ from, step, count }: Edits): number[] =>
  Array.from({ length: count }, (_, i) => from + i * step);

/** A list in parts of at most `size`. */
export const inParts = <A>(list: readonly A[], size: number): A[][] =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, i) =>
    list.slice(i * size, (i + 1) * size),
  );
