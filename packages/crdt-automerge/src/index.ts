export { loadAutomergeCrdt, type AutomergeCrdtOptions } from './automerge-crdt.js';
export { defaultAutomergeLimits, type AutomergeLimits } from './automerge-limits.js';
