import { isWellFormed, utf8Length } from './bytes.js';

/** Names one installation that writes one op log: 1 to 64 characters of [A-Za-z0-9_-]. */
export type ReplicaId = string;
/** Names a record within its table: 1 to 255 bytes of well-formed UTF-8 without NUL. */
export type RecordId = string;
/** Numeric id of a table, from the customization; never reused. */
export type TableId = number;
/** Numeric id of a field within its table; never reused. */
export type FieldId = number;

/** Maximum length of a record id in UTF-8 bytes: it fits a length byte in keys and directories. */
export const recordIdBytesMax = 255;

/** Tells whether a text is a valid RecordId. Nothing else is one. */
export const isRecordId = (text: string): boolean =>
  typeof text === 'string' &&
  text.length > 0 &&
  text.length <= recordIdBytesMax &&
  !text.includes('\0') &&
  isWellFormed(text) &&
  utf8Length(text) <= recordIdBytesMax;

/** Tells whether a text is a valid ReplicaId. */
export const isReplicaId = (text: string): boolean => /^[A-Za-z0-9_-]{1,64}$/.test(text);

/**
 * Names a device, the home of replicas with one credential: what is allowed for a ReplicaId, but not `-` alone,
 * which stands for no device.
 */
export const isDeviceId = (text: string): boolean => isReplicaId(text) && text !== '-';

/** Position of an operation: `index` counts the operations of a replica from 1, across its epochs. */
export interface OpId {
  readonly replica: ReplicaId;
  readonly epoch: number;
  readonly index: number;
}

/** Prints an OpId as `replica/epoch/index`. */
export const printOpId = ({ replica, epoch, index }: OpId): string =>
  `${replica}/${epoch}/${index}`;

/** Reads an OpId; `undefined` unless the text is exactly what `printOpId` prints. */
export const parseOpId = (text: string): OpId | undefined => {
  const match = /^([A-Za-z0-9_:-]{1,80})\/(0|[1-9]\d{0,14})\/(0|[1-9]\d{0,14})$/.exec(text);
  return match === null
    ? undefined
    : { replica: match[1] as string, epoch: Number(match[2]), index: Number(match[3]) };
};

/** Server version: `n` numbers the transactions of an incarnation's input. Compare n within one incarnation only. */
export interface ServerVersion {
  readonly incarnation: number;
  readonly n: number;
}

/** Tells whether two server versions are the same. */
export const equalVersion = (a: ServerVersion, b: ServerVersion): boolean =>
  a.incarnation === b.incarnation && a.n === b.n;

/** What the author of an operation had seen of the record: its version, birth and modifiedOn (ms). */
export interface BaseVersion extends ServerVersion {
  readonly born: string;
  readonly modifiedOn: number;
}
