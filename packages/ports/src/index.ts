export type { AbortSignalLike, Clock, Entropy, Timer, Crypto, Ed25519, Logger } from './effects.js';
export type { Compression } from './compression.js';
export type { ServerTalk } from './server-talk.js';
export type { FieldCrdt, CrdtKey, CrdtEdit, CrdtApplied } from './field-crdt.js';
export type {
  ReplicaStore,
  ReplicaBatch,
  OpLog,
  LogEntry,
  LogEnd,
  LayerSpace,
  LayerPut,
  IndexRun,
  LayerBlock,
  LayerRow,
  LayerPage,
  IndexRange,
  IndexEntry,
  Durability,
  StoreDamage,
  Marker,
} from './replica-store.js';
export type {
  ServerStore,
  AppendOutcome,
  ServerBatch,
  ServerSpace,
  StoredRecord,
  RecordPage,
  Segment,
  SegmentOutline,
  PreparedPack,
  PreparedPacks,
  ReadCounters,
  InputLog,
  InputPosition,
  InputMessage,
  InputExtent,
  CheckpointFolder,
} from './server-store.js';
export type { Endpoint, Caller, Link, Transport, Service } from './transport.js';
