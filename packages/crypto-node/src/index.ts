export { nodeCrypto } from './node-crypto.js';
export { ed25519, keysKeptMax } from './ed25519.js';
export { compressionNow, nodeCompression, nodeCodecs, unpackNow } from './node-compression.js';
