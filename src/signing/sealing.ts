/** Messages between two processes of one installation that nobody on the way can read, change or send again. */
import { createCipheriv, createDecipheriv, createECDH, createHash, hkdfSync, verify } from 'node:crypto';
import type { Keys } from './keys.ts';

/** How a process is known to the others. The signature is the installation's, over `number` and `publicKey`. */
export type Announcement = {
  readonly number: number;
  readonly publicKey: Buffer;
  readonly kid: string;
  readonly signature: Buffer;
};

export type SealedPeer = {
  readonly seal: (plain: Buffer) => Buffer;
  /** Null for what this peer did not send to this process, was altered, or was sent before. */
  readonly open: (sealed: Buffer) => Buffer | null;
};

export type Sealing = {
  readonly publicKey: Buffer;
  readonly announce: (number: number) => Announcement;
  /** Null where no key of the installation, or one that is revoked, signed the announcement. */
  readonly peer: (announcement: Announcement) => Promise<SealedPeer | null>;
};

const COUNTER_BYTES = 8;
const TAG_BYTES = 16;

/**
 * A new key pair for this process, in memory alone: ECDH on P-256, HKDF-SHA-256 (RFC 5869) to one AES-256-GCM key for
 * each direction, the nonce being a counter that never goes back.
 */
export function newSealing(keys: Keys): Sealing {
  const own = createECDH('prime256v1');
  own.generateKeys();
  const publicKey = own.getPublicKey();
  let sent = 0n;
  /** The highest counter of each peer: what is not above it was heard already. */
  const heard = new Map<string, bigint>();

  function peer(theirs: Buffer): SealedPeer {
    const secret = own.computeSecret(theirs);
    const name = theirs.toString('hex');
    const outgoing = derived(secret, publicKey, theirs);
    const incoming = derived(secret, theirs, publicKey);
    return {
      seal: (plain) => {
        sent += 1n;
        const counter = Buffer.alloc(COUNTER_BYTES);
        counter.writeBigUInt64BE(sent);
        const cipher = createCipheriv('aes-256-gcm', outgoing, nonceOf(counter));
        return Buffer.concat([counter, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
      },
      open: (sealed) => {
        if (sealed.length < COUNTER_BYTES + TAG_BYTES) return null;
        const counter = sealed.readBigUInt64BE(0);
        if (counter <= (heard.get(name) ?? 0n)) return null;
        const decipher = createDecipheriv(
          'aes-256-gcm',
          incoming,
          nonceOf(sealed.subarray(0, COUNTER_BYTES)),
        );
        decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
        try {
          const body = sealed.subarray(COUNTER_BYTES, sealed.length - TAG_BYTES);
          const plain = Buffer.concat([decipher.update(body), decipher.final()]);
          heard.set(name, counter);
          return plain;
        } catch {
          return null;
        }
      },
    };
  }

  return {
    publicKey,
    announce: (number) => ({
      number,
      publicKey,
      kid: keys.signer.kid,
      signature: keys.signer.sign(signedBytes(number, publicKey)),
    }),
    peer: async ({ number, publicKey: theirs, kid, signature }) => {
      const signer = await keys.find(kid);
      if (signer === null || signer.revocation !== null) return null;
      if (!verify(null, signedBytes(number, theirs), signer.key, signature)) return null;
      return peer(theirs);
    },
  };
}

/** No other thing that the installation signs begins like this. */
function signedBytes(number: number, publicKey: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`countersign cancel instance ${number}\n`), publicKey]);
}

function derived(secret: Buffer, from: Buffer, to: Buffer): Buffer {
  const info = Buffer.concat([Buffer.from('countersign cancel'), from, to]);
  const salt = createHash('sha256').update('countersign sealing 1').digest();
  return Buffer.from(hkdfSync('sha256', secret, salt, info, 32));
}

function nonceOf(counter: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(12 - COUNTER_BYTES), counter]);
}
