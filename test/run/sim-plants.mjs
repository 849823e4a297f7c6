// Faults that are planted into the engine, one at a time: texts of source files that the bundle of the
// simulator gets in another form. Nothing of them is in the engine itself. `known` is a seed that finds it.
const client = (file) => `packages/client/src/${file}`;
const merger = (file) => `packages/merger/src/${file}`;
const merge = (file) => `packages/merge/src/${file}`;
const store = (file) => `packages/store-level/src/${file}`;

/** Starts from which a fault is known to be found; from the first seed otherwise. */
const knownSeeds = {
  'an edit is confirmed before it is written': 11,
  'what is published was not fsynced': 37,
  'an edit at disk does not wait for its fsync': 126,
  'what an envelope brings again is merged again': 151,
  'any envelope is taken for its named replica': 3448,
  'a refusal leaves no sync error': 3003,
  'a rejected write of the disk is swallowed': 6,
  'a receipt alone removes pending operations': 3,
  'a page removes operations that it does not cover': 8,
  'a write of a server is confirmed before it is stored': 41,
  'a cursor goes by its number only': 5,
  'chance decides equal times': 6,
  'counters are set and not added': 2160,
  'a transaction is decided by record': 6,
  'a late edit brings a deleted record back': 27,
  'a delete always wins': 2164,
  'the newest arrival wins a field': 2160,
  'equal edits conflict': 25,
  'the size of windows matters': 16,
  'a flip that was cut is forgotten': 7,
  'trimmed messages that came back count': 66,
  'a store behind its checkpoint is not reloaded': 66,
  'damage of the log is not looked for': 33,
  'a new customization is not told to devices': 81,
  'filters are not applied to what changed': 401,
  'bad input is not counted': 687,
  'any signature is taken': 9,
  'a signature counts in every tenant': 9,
  'who was revoked is heard': 44,
};

/** A fault of several places: `[file, text, other text]` each. */
const plantAll = (name, ...places) => ({
  name,
  patches: places.map(([file, find, replace = '']) => ({ file, find, replace })),
  known: knownSeeds[name] ?? 1,
});

const plant = (name, file, find, replace) => plantAll(name, [file, find, replace]);

export const plants = [
  plant(
    'an edit is confirmed before it is written',
    client('local/replica-core.ts'),
    "await this.store.write(full, write.durability ?? 'os');",
    "void this.store.write(full, write.durability ?? 'os').catch(() => undefined);",
  ),
  plant(
    'no fsync happens',
    store('group-writer.ts'),
    "const isSynced = group.some(({ durability }) => durability === 'disk');",
    'const isSynced = false;',
  ),
  plant(
    'an edit at disk does not wait for its fsync',
    client('local/opened-local-replica.ts'),
    'if (synced !== undefined) await synced;',
    'if (synced !== undefined) synced.catch(() => undefined);',
  ),
  plant(
    'what is published was not fsynced',
    client('local/log-upkeep.ts'),
    "await core.store.sync();\n    await core.commit({ meta: { ...core.meta, publishedTo: to }, durability: 'disk' });",
    'await core.commit({ meta: { ...core.meta, publishedTo: to } });',
  ),
  plantAll(
    'what an envelope brings again is merged again',
    [
      merger('fold/decide-envelope.ts'),
      'if (envelope.to <= state.mergedTo) {',
      'if (envelope.to < state.mergedTo) {',
    ],
    [
      merger('fold/decide-envelope.ts'),
      'const fresh = opened.transactions.filter(({ first }) => first > state.mergedTo);',
      'const fresh = opened.transactions;',
    ],
    [merger('fold/open-envelope.ts'), 'if (last > mergedTo) {', 'if (last > 0) {'],
  ),
  plant(
    'any envelope is taken for its named replica',
    merger('fold/decide-envelope.ts'),
    "if (caller.replica !== envelope.replica || caller.user !== envelope.user) return 'identity';",
  ),
  plant(
    'the status says synced while operations pend',
    client('run/replica-status.ts'),
    'pending === 0 &&\n      parked === 0 &&\n      meta.mergedTo >= lastIndex &&\n      contained &&\n      !meta.awaitsGrant &&',
    'parked === 0 &&',
  ),
  plant(
    'a refusal leaves no sync error',
    merger('fold/parking.ts'),
    'writeSyncError(window, newRow(window, origin, decided), origin.user);',
    "if (decided.kind === 'conflict')\n      writeSyncError(window, newRow(window, origin, decided), origin.user);",
  ),
  plant(
    'a rejected write of the disk is swallowed',
    store('group-writer.ts'),
    'for (const { reject } of [...group, ...behind]) reject(failure);',
    'for (const { resolve } of [...group, ...behind]) resolve();',
  ),
  plantAll(
    'a receipt alone removes pending operations',
    [
      client('local/row-reader.ts'),
      "const views = await core.store.getRows('view', table, ids, stack);",
      "const views = (await core.store.getRows('view', table, ids, stack)).map((view) =>\n    view !== undefined && lastOfRuns(decodeView(view).ops) <= core.meta.mergedTo ? undefined : view,\n  );",
    ],
    [
      client('local/row-reader.ts'),
      "import { decodeView } from './pending-view.js';",
      "import { decodeView } from './pending-view.js';\nimport { lastOfRuns } from './op-runs.js';",
    ],
  ),
  plant(
    'a page removes operations that it does not cover',
    client('local/rebase.ts'),
    'return index > this.#target.mergedTo || this.#target.open.has(index);',
    'return this.#target.open.has(index);',
  ),
  plant(
    'a write of a server is confirmed before it is stored',
    merger('service/merger.ts'),
    'const position = await parts.append(encodeInputEntry(entry));',
    "const stored = parts.append(encodeInputEntry(entry));\n  if (entry.kind === 'write') return (stored.catch(() => undefined), parts.applied.applied());\n  const position = await stored;",
  ),
  plant(
    'a cursor goes by its number only',
    merger('service/pull-cursor.ts'),
    'if (cursor.incarnation !== state.incarnation || cursor.to > state.n)',
    'if (cursor.to > state.n)',
  ),
  plant(
    'chance decides equal times',
    merge('decide-field.ts'),
    "return { outcome: 'parked', rule: 'equal-times' };",
    "return { outcome: Math.random() < 0.5 ? 'applied' : 'superseded', rule: 'equal-times' };",
  ),
  plant(
    'counters are set and not added',
    merge('decide-parts.ts'),
    "(typeof theirs === 'number' ? theirs : 0) + by",
    "(typeof theirs === 'number' ? 0 : 0) + by",
  ),
  plant(
    'a transaction is decided by record',
    merge('decide.ts'),
    "const apart = transaction.atomicity === 'per-record' || context.resolution?.action === 'split';",
    'const apart = true;',
  ),
  plant(
    'a late edit brings a deleted record back',
    merge('decide-update.ts'),
    "choice === 'mine' || (choice === undefined && work.table.onDelete === 'edit-wins');",
    'choice === undefined || choice === null || true;',
  ),
  plant(
    'a delete always wins',
    merge('decide-delete.ts'),
    'if (isClean(record, op, author, work.chain)) {',
    'if (op.base !== undefined) {',
  ),
  plant(
    'the newest arrival wins a field',
    merge('decide-field.ts'),
    "if (start !== 'unknown' && entry === undefined && equalValues(server, base))",
    "if (start !== 'unknown')",
  ),
  plant(
    'equal edits conflict',
    merge('decide-field.ts'),
    "if (equalValues(server, after)) return { outcome: 'same', rule: 'same', base, value: after };",
  ),
  plant(
    'the size of windows matters',
    merger('fold/fold.ts'),
    'now: window.now,',
    'now: window.now + 5_000 * (messages.length - 1),',
  ),
  plant(
    'a flip that was cut is forgotten',
    client('run/download.ts'),
    'await local.staging.finish();',
  ),
  plant(
    'trimmed messages that came back count',
    store('input-log.ts'),
    'if (comparePositions(position, this.#state.trimmed) <= 0) return undefined;',
  ),
  plant(
    'a store behind its checkpoint is not reloaded',
    merger('service/open-line.ts'),
    'liesBehind(this.#state, this.#newest.manifest) &&',
    'isOlder(this.#state, this.#newest.manifest) &&',
  ),
  plant(
    'damage of the log is not looked for',
    store('ordinal-ring.ts'),
    'return { head, note, lost, lostCount };',
    'return { head, note, lost: [], lostCount: 0 };',
  ),
  plant(
    'a new customization is not told to devices',
    client('run/agree-on-log.ts'),
    'context.customizationVersion = message.customizationVersion;',
  ),
  plant(
    'filters are not applied to what changed',
    merger('service/pull-feed.ts'),
    '  filter === null && projection === null && !pass.asOfTo;',
    '  !pass.asOfTo;',
  ),
  plant(
    'any signature is taken',
    merger('fold/decide-identity.ts'),
    'signature !== undefined && window.context.verify(key, bytes, signature)',
    'signature !== undefined',
  ),
  plant(
    'a signature counts in every tenant',
    'packages/protocol/src/signed-bytes.ts',
    "bytesOf(\n    'tidemark-envelope-1',\n    tenant,",
    "bytesOf(\n    'tidemark-envelope-1',\n    '',",
  ),
  plant(
    'who was revoked is heard',
    merger('fold/decide-identity.ts'),
    "if (!(await isLive(window, enrolment))) return 'revoked';\n  if (enrolment.user !== envelope.user)",
    'if (enrolment.user !== envelope.user)',
  ),
  plant('bad input is not counted', merger('fold/decide-envelope.ts'), 'counts.quarantined += 1;'),
];
