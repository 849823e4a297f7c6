/** Recovery says what a caller can do about a failure. */
export type Recovery =
  | 'retry-later'
  | 'rebase'
  | 'rehydrate'
  | 'split'
  | 'ask-user'
  | 'ask-operator'
  | 'quarantine'
  | 'upgrade';

interface CodeEntry {
  readonly recovery: Recovery;
  readonly meaning: string;
  readonly cause: string;
  readonly action: string;
}

const entry = (recovery: Recovery, meaning: string, cause: string, action: string): CodeEntry => ({
  recovery,
  meaning,
  cause,
  action,
});

/** Catalogue of every error code: docs/errors.md is generated from it. Codes never change meaning. */
export const errorCatalogue = {
  // Input of the application
  'unknown-table': entry(
    'ask-user',
    'The table is not in the schema.',
    'A misspelt table name, or a customization that does not hold the table yet.',
    'Check the name against the schema; publish the customization that adds it.',
  ),
  'unknown-field': entry(
    'ask-user',
    'The field is not in the table.',
    'A misspelt field name, or a customization that does not hold the field yet.',
    'Check the name against the schema; publish the customization that adds it.',
  ),
  'invalid-value': entry(
    'ask-user',
    'A value does not have the canonical form of its field type.',
    'A wrong type, a malformed date or decimal, NaN, -0, an unknown option or a text over its maximum length.',
    'Give a value of the declared type.',
  ),
  'required-field': entry(
    'ask-user',
    'A required field has no value.',
    'A create without the field, or an update that sets it to null.',
    'Give the field a value.',
  ),
  'invalid-id': entry(
    'ask-user',
    'An id is not allowed.',
    'An empty id, one over 255 bytes, with a NUL or a lone surrogate; or a replica id outside [A-Za-z0-9_-].',
    'Choose another id.',
  ),
  'unknown-record': entry(
    'ask-user',
    'The record does not exist in the local view.',
    'It was deleted, evicted from the scope, or never created.',
    'Read the record again before editing it.',
  ),
  'record-exists': entry(
    'ask-user',
    'A record with this id exists in the local view.',
    'A create with an id that is in use.',
    'Update the record, or create one with another id.',
  ),
  'record-too-large': entry(
    'ask-user',
    'The record exceeds the maximum size.',
    'Very large field values.',
    'Store large data outside the record.',
  ),
  'transaction-too-large': entry(
    'split',
    'The transaction exceeds 1,000 operations or 256 KB.',
    'Too many edits in one transaction.',
    'Split it into several transactions.',
  ),
  'transaction-empty': entry(
    'ask-user',
    'The transaction holds no operation.',
    'The callback edited nothing.',
    'Edit at least one record, or do not open a transaction.',
  ),
  'transaction-closed': entry(
    'ask-user',
    'The transaction object was used after its callback ended.',
    'An await was forgotten inside the callback.',
    'Await every call inside the callback.',
  ),
  'invalid-filter': entry(
    'ask-user',
    'The filter cannot be used.',
    'A syntax error, an unknown field, a literal of the wrong type, or a limit exceeded.',
    'Read the position and expectation in the message.',
  ),
  'invalid-scope': entry(
    'ask-user',
    'The scope cannot be used.',
    'An unknown table or field, or an invalid filter.',
    'Read the problems in the message.',
  ),
  'invalid-customization': entry(
    'ask-operator',
    'The customization is malformed.',
    'Missing or contradictory definitions; every problem is listed with its path.',
    'Mend all listed problems and publish again.',
  ),
  'destructive-change': entry(
    'ask-operator',
    'The customization removes or retypes something that exists.',
    'Only new tables, fields, indexes and rules may be published for now.',
    'Keep the old definition; add a new field beside it.',
  ),
  'query-too-large': entry(
    'ask-user',
    'The query would return too many records at once.',
    'No limit was given on a large table.',
    'Give a limit, or narrow the filter.',
  ),
  'invalid-option': entry(
    'ask-user',
    'An option has an invalid value.',
    'A misspelt or out-of-range option.',
    'Read the option named in the message.',
  ),
  'invalid-resolution': entry(
    'ask-user',
    'The resolution does not fit the sync error.',
    'An unknown sync error, action or field choice.',
    'List the sync errors again and choose one of the offered actions.',
  ),
  // Replica
  'folder-in-use': entry(
    'ask-user',
    'The folder is open elsewhere, or belongs to another user or tenant.',
    'Another process holds it, or the application signed in as somebody else.',
    'Close the other process, or open another folder.',
  ),
  'replica-closed': entry(
    'ask-user',
    'The replica is closed.',
    'A call after close().',
    'Open the replica again.',
  ),
  'pending-operations': entry(
    'ask-user',
    'Operations are pending that would be lost.',
    'A clear() with pending: "refuse" while operations are pending or parked.',
    'Sync first, resolve the sync errors, or choose "upload-first" or "discard".',
  ),
  'sync-running': entry(
    'retry-later',
    'A sync run is active.',
    'The call must not interrupt a run.',
    'Wait for the run to end, or cancel it.',
  ),
  // Storage
  'storage-unavailable': entry(
    'retry-later',
    'The store cannot read or write now.',
    'Full disk, missing permission or a failing device. What was promised stays saved.',
    'Free space or mend access; then try again.',
  ),
  'storage-damaged': entry(
    'ask-operator',
    'The store lost or altered data.',
    'Power loss, a failing disk, or files removed from the folder.',
    'Read the counts in the details; the engine heals what another copy still holds.',
  ),
  'store-missing': entry(
    'ask-operator',
    'The folder held a store that is not there any more.',
    'Files of the folder were deleted or only partly copied.',
    'Restore the folder from a copy, or clear it on purpose.',
  ),
  'newer-format': entry(
    'upgrade',
    'The data was written by a newer version.',
    'A downgrade of the package.',
    'Install the newer version again; the data was left untouched.',
  ),
  'checkpoint-invalid': entry(
    'ask-operator',
    'The checkpoint cannot be used.',
    'It is incomplete, damaged, or of another tenant.',
    'Use another checkpoint.',
  ),
  'state-differs': entry(
    'rehydrate',
    'The state of a server is not what its input gives.',
    'Damage that no checksum shows, or a fault that is gone: another server came to another state, and folding the input again agrees with that one.',
    'Nothing: the server leaves the service, puts the refolded state in place of its own and comes back.',
  ),
  'fold-diverged': entry(
    'ask-operator',
    'Servers come to different states from the same input, also when they fold it again.',
    'Different versions of Tidemark or of a validate hook that is not deterministic, or a fault of Tidemark.',
    'All servers concerned have stopped. Run one version and one hook everywhere, compare what they say, and report it.',
  ),
  'input-mismatch': entry(
    'ask-operator',
    'The input is not the one that the store has folded.',
    'The input lost its tail, was rewound, or continues from a checkpoint that this store does not have.',
    'Load the newest checkpoint that fits the input; what is missing is offered again by the replicas.',
  ),
  'hook-failed': entry(
    'ask-operator',
    'A hook of the application threw or read too much.',
    'A bug in the hook. The fold stopped before the transaction; nothing was decided.',
    'Mend the hook and start the server again.',
  ),
  // Transport and protocol
  unreachable: entry(
    'retry-later',
    'The server cannot be reached.',
    'No network, or the server is down.',
    'Edits go on offline; the next run tries again.',
  ),
  'input-full': entry(
    'retry-later',
    'The input of the server has no space left.',
    'The stream reached its limit: checkpoints and archives were not written for long.',
    'Edits stay on the device and go up by themselves once there is space; the operator archives the input or raises its limit.',
  ),
  aborted: entry(
    'retry-later',
    'The caller cancelled the work.',
    'An AbortSignal fired.',
    'Start it again when wanted.',
  ),
  timeout: entry(
    'retry-later',
    'The server did not answer in time.',
    'A slow network or a busy server.',
    'Try again.',
  ),
  'malformed-message': entry(
    'quarantine',
    'A message cannot be decoded.',
    'A foreign or damaged sender.',
    'Look at the sender; nothing was changed.',
  ),
  'protocol-too-old': entry(
    'upgrade',
    'The server no longer speaks the protocol of this device.',
    'The device is two or more versions of the protocol behind: a server speaks its own and the one before.',
    'Upgrade the device: what it has not sent stays in its log, and is sent then.',
  ),
  'newer-protocol': entry(
    'upgrade',
    'The other side speaks a newer protocol.',
    'Versions too far apart.',
    'Upgrade this side.',
  ),
  behind: entry(
    'retry-later',
    'The server is older than what this replica has seen.',
    'A standby that has not caught up.',
    'Try again, or another server.',
  ),
  'invalid-cursor': entry(
    'rehydrate',
    'The cursor is not one that this server made for this replica.',
    'A forged or foreign cursor, or another scope.',
    'The run repairs by difference.',
  ),
  'no-page-ahead': entry(
    'retry-later',
    'The server does not know where the page begins that was asked for ahead.',
    'The download ended before it, or another server answers now.',
    'Nothing: the run asks for the page by its cursor.',
  ),
  'wrong-tenant': entry(
    'ask-user',
    'The server serves another tenant.',
    'A wrong address or configuration.',
    'Connect to the right server.',
  ),
  // Identity
  unauthenticated: entry(
    'ask-user',
    'The server does not know who is asking.',
    'The replica is not enrolled, its token was refused or used, or a signature does not verify.',
    'Sign in again, or get a new token by `tidemark enroll`; edits go on and wait.',
  ),
  revoked: entry(
    'ask-operator',
    'The replica or its device was revoked.',
    'An operator ended its access, as for a lost device.',
    'If that was a mistake, enrol the device again under a new name.',
  ),
  'forged-receipt': entry(
    'ask-operator',
    "The server's word is not signed by a key that this replica trusts.",
    'Somebody else answers in place of the server, or the server lost its keys.',
    'Nothing was dropped. Find out who answers; with new keys of the server, enrol again.',
  ),
  // Merge: reasons of sync errors
  conflict: entry(
    'ask-user',
    'Two sides changed the same field and no rule may decide.',
    'A manual rule, equal times, or a delete against an edit.',
    'Choose one of the offered resolutions.',
  ),
  gone: entry(
    'ask-user',
    'The edited record does not exist on the server.',
    'It was deleted long ago, or recreated by somebody else.',
    'Ignore the edit, or create the record again.',
  ),
  rejected: entry(
    'ask-user',
    'A rule of the application refused the transaction.',
    'The validate hook returned a message.',
    'Correct the record; the correction is decided together with it.',
  ),
  denied: entry(
    'ask-user',
    'The user may not do this.',
    'Missing rights.',
    'Ask an administrator.',
  ),
  invalid: entry(
    'ask-user',
    'The operation does not fit the schema.',
    'An unknown table or field, a wrong type or a missing required field.',
    'Correct the record; the correction is decided together with it.',
  ),
  'missing-reference': entry(
    'ask-user',
    'The operation refers to something the server does not have.',
    'A child of a parked create, or CRDT changes whose dependencies are missing.',
    'It resumes by itself when the root is resolved.',
  ),
  poison: entry(
    'quarantine',
    'The transaction cannot be decoded.',
    'A damaged or hostile sender.',
    'Its bytes are kept for inspection.',
  ),
} as const satisfies Readonly<Record<string, CodeEntry>>;

/** ErrorCode is the stable name of a failure. */
export type ErrorCode = keyof typeof errorCatalogue;
