// The import directions of the design, as data: the dependency checker and the tidy tests read
// this one list. `ours` are workspace packages, `foreign` are registry packages.
const everything = [
  'model',
  'merge',
  'filter',
  'protocol',
  'ports',
  'crdt-automerge',
  'crypto-node',
  'client',
  'merger',
  'store-level',
  'transport-local',
  'transport-nats',
];
const except = (...names) => everything.filter((name) => !names.includes(name));
const pureParts = ['model', 'merge', 'filter', 'protocol', 'ports'];
const codecs = ['fp-ts', 'io-ts'];
const nats = [
  '@nats-io/jetstream',
  '@nats-io/jwt',
  '@nats-io/nats-core',
  '@nats-io/nkeys',
  '@nats-io/obj',
  '@nats-io/transport-node',
];
const level = ['abstract-level', 'classic-level', 'level', 'memory-level'];

exports.allowed = {
  model: { ours: [], foreign: codecs },
  merge: { ours: ['model'], foreign: codecs },
  filter: { ours: ['model'], foreign: codecs },
  protocol: { ours: ['model', 'filter'], foreign: codecs },
  ports: { ours: ['model'], foreign: [] },
  'crdt-automerge': {
    ours: ['model', 'ports'],
    foreign: ['@automerge/automerge', 'diff', 'fflate', 'fp-ts'],
  },
  'crypto-node': { ours: ['ports'], foreign: [] },
  client: { ours: pureParts, foreign: [...codecs, 'uuid'] },
  merger: { ours: pureParts, foreign: codecs },
  'store-level': { ours: ['model', 'ports'], foreign: [...codecs, ...level] },
  'transport-local': { ours: ['model', 'ports', 'protocol'], foreign: codecs },
  'transport-nats': { ours: ['model', 'ports', 'protocol'], foreign: [...codecs, ...nats] },
  node: { ours: except('merger'), foreign: [...codecs, 'uuid'] },
  server: { ours: except('client'), foreign: [...codecs, 'jose', 'uuid'] },
  cli: {
    ours: ['model', 'node', 'ports', 'server', 'store-level'],
    foreign: [...codecs, 'commander', 'csv-parse', 'csv-stringify', 'prom-client'],
  },
  testkit: { ours: pureParts, foreign: ['fast-check', 'vitest', 'fp-ts'] },
};

/** Packages without timers, dates, chance, console or Node built-ins. */
exports.pure = [
  'model',
  'merge',
  'filter',
  'protocol',
  'ports',
  'crdt-automerge',
  'client',
  'merger',
];

/** Each foreign system has one package that may import it (tests and benchmarks may, too). */
exports.owners = [
  { name: 'automerge', foreign: ['@automerge/automerge'], owner: 'crdt-automerge' },
  { name: 'level', foreign: level, owner: 'store-level' },
  { name: 'nats', foreign: nats, owner: 'transport-nats' },
];
