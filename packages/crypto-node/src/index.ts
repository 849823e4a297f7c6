export { nodeCrypto } from './node-crypto.js';
export { ed25519, keysKeptMax } from './ed25519.js';
export { nodeCompression, nodeCodecs } from './node-compression.js';
