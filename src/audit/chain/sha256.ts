import * as crypto from 'node:crypto';

/** sha256 of some bytes. `crypto.hash` is there from Node 20.12 on, and takes half the time. */
export const sha256: (bytes: Uint8Array) => Buffer =
  typeof crypto.hash === 'function'
    ? (bytes) => crypto.hash('sha256', bytes, 'buffer')
    : (bytes) => crypto.createHash('sha256').update(bytes).digest();
