export { left, right, isLeft, type Result } from './result.js';
export {
  utf8Encode,
  utf8Decode,
  utf8Length,
  isWellFormed,
  compareBytes,
  equalBytes,
  concatBytes,
  toHex,
  fromHex,
  toBase64,
  fromBase64,
  type Hash,
} from './bytes.js';
export { newBytes, utf8EncodeBriefly } from './slab.js';
export { isDeepJson, jsonDepthMax } from './json-depth.js';
export { errorCatalogue, type ErrorCode, type Recovery } from './error-codes.js';
export {
  TidemarkError,
  InvariantViolation,
  invariant,
  problemsError,
  type Problem,
  type ErrorDetails,
} from './error.js';
export {
  recordIdBytesMax,
  isRecordId,
  isReplicaId,
  isDeviceId,
  printOpId,
  parseOpId,
  equalVersion,
  type ReplicaId,
  type RecordId,
  type TableId,
  type FieldId,
  type OpId,
  type ServerVersion,
  type BaseVersion,
} from './ids.js';
export { zeroHlc, tickHlc, compareHlc, type Hlc } from './hlc.js';
export {
  equalValues,
  isCanonicalValue,
  valueFromJson,
  fieldTypes,
  stringLengthMax,
  textLengthMax,
  type Value,
  type FieldType,
  type AttachmentValue,
} from './value.js';
export {
  indexSchema,
  ruleOfField,
  resolutionRules,
  deleteRules,
  userTableIdMax,
  fieldIdMax,
  type Schema,
  type SchemaTable,
  type Customization,
  type TableDefinition,
  type FieldDefinition,
  type IndexDefinition,
  type ResolutionRule,
  type DeleteRule,
} from './schema.js';
export {
  decodeCustomization,
  destructiveChanges,
  tablesMax,
  fieldsPerTableMax,
  indexesPerTableMax,
  indexFieldsMax,
  customizationBytesMax,
  optionsMax,
} from './customization.js';
export {
  defineSchema,
  schemaFromCustomization,
  field,
  type FieldSpec,
  type TableSpec,
  type TypedSchema,
  type FieldsOf,
  type NewFieldsOf,
  type RecordOf,
} from './define-schema.js';
export {
  transactionOpsMax,
  transactionBytesMax,
  type Operation,
  type OperationKind,
  type Transaction,
  type Atomicity,
  type FieldChange,
  type FieldIncrement,
  type FieldCrdtEdit,
  type FieldValue,
} from './operation.js';
export { checkOperation, checkValue, type OperationProblem } from './check-operation.js';
export { encodeTransaction, decodeTransaction } from './transaction-codec.js';
export {
  storeTransaction,
  openTransaction,
  nextHead,
  eraseTransaction,
  emptyHead,
  saltBytes,
  transactionFormat,
  type StoredTransaction,
  type StoredTransactionProblem,
} from './chain.js';
export {
  encodeEnvelope,
  decodeEnvelope,
  envelopeBytesMax,
  envelopeFormat,
  type Envelope,
  type EnvelopeProblem,
} from './envelope.js';
export {
  encodeRow,
  rowText,
  decodeRow,
  projectRow,
  baseOfRow,
  type Row,
  type RowFields,
} from './row.js';
export { fieldBytesOfRow, visitRowFields } from './row-fields.js';
export {
  blockBytes,
  blockRowsMax,
  checkBlock,
  findInBlock,
  openBlock,
  packBlocks,
  rowsOfBlock,
  visitBlock,
  type BlockRow,
  type OpenBlock,
  type RowBlock,
} from './row-block.js';
export type { Outcome, Disposition, Receipt } from './outcome.js';
export {
  resolutionActions,
  type SyncErrorRow,
  type SyncErrorKind,
  type SyncErrorState,
  type SyncErrorConflict,
  type ParkedRange,
  type ResolutionRow,
  type ResolutionAction,
  type ResolutionChoice,
  type ResolutionVerdict,
  type ShownVersion,
} from './sync-error.js';
export {
  systemTables,
  syncErrorsTable,
  resolutionsTable,
  customizationsTable,
  replicasTable,
  devicesTable,
  tokensTable,
  policiesTable,
  resolutionItemsMax,
  conflictsShownMax,
  conflictUnitsMax,
  syncErrorFields,
  syncErrorFromFields,
  resolutionFields,
  resolutionFromFields,
} from './system-tables.js';
export type { SyncLog, SyncTableLog, SyncMode, SyncResult } from './sync-log.js';
