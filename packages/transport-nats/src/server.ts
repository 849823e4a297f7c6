export { connectServer, type NatsServerConnection } from './server-connection.js';
export {
  openNatsInputLog,
  streamBytesMaxDefault,
  type EnvelopeSender,
  type NatsInputLog,
  type NatsInputLogOptions,
} from './nats-input-log.js';
export { checkedGenerationBytes, type GenerationRoll } from './generation-roll.js';
export { removeInput } from './remove-input.js';
export { readInputName, type InputName } from './input-name.js';
export { spaceAlarmPercents, type InputSpace } from './space-alarm.js';
export { readArchive, type ArchivedMessage } from './archive.js';
export {
  openNatsCheckpoints,
  removeNatsCheckpoints,
  checkpointPartBytesMax,
  stalePartMs,
  type NatsCheckpointsOptions,
} from './nats-checkpoints.js';
export { openServerTalk, serverWordBytesMax } from './server-talk.js';
export {
  callsInFlightMax,
  callsWaitingMax,
  serveTenant,
  type ServedTenant,
  type ServeTenantOptions,
} from './serve-tenant.js';
export {
  claimsMsMax,
  createNatsKeys,
  deviceCredential,
  deviceSubjects,
  natsAuthConf,
  natsClaims,
  pushClaims,
  serverCredential,
  systemCredential,
  type NatsClaims,
  type NatsCredential,
  type NatsKeys,
} from './nats-keys.js';
export type { NatsPlace, NatsTls } from './nats-transport.js';
