import { verify } from 'node:crypto';
import type { Signer } from './key-text.ts';
import type { KeySet } from './keys.ts';

/** What a seal is over: the verdict as it is stored, and what it was about. */
export type SealedVerdict = {
  readonly request: string;
  /** The request's binding digest, hex. */
  readonly digest: string;
  readonly person: string;
  readonly verdict: 'approve' | 'deny';
  readonly reason: string | null;
  readonly channel: string;
  readonly assurance: number;
  readonly ids: readonly string[];
  /** As stored, JSON text. */
  readonly facts: string;
  /** Milliseconds since 1970 UTC. */
  readonly atMs: number;
};

const DOMAIN = 'countersign verdict 1\n';

/** `KID.SIGNATURE`, Ed25519 (RFC 8032): whoever can write rows, and has no key of ours, cannot make one. */
export function sealVerdict(sealed: SealedVerdict, signer: Signer): string {
  return `${signer.kid}.${signer.sign(sealedBytes(sealed)).toString('base64url')}`;
}

/** Attacker-controlled: both. True only where a key of `keys` that is not revoked signed exactly this. */
export async function isSealed(seal: string, sealed: SealedVerdict, keys: KeySet): Promise<boolean> {
  const [, kid, signature] = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{86})$/.exec(seal) ?? [];
  if (kid === undefined || signature === undefined) return false;
  const known = await keys.find(kid);
  if (known === null || known.revocation !== null) return false;
  return verify(null, sealedBytes(sealed), known.key, Buffer.from(signature, 'base64url'));
}

function sealedBytes(sealed: SealedVerdict): Buffer {
  const { request, digest, person, verdict, reason, channel, assurance, ids, facts, atMs } = sealed;
  const fields = [request, digest, person, verdict, reason, channel, assurance, ids, facts, atMs];
  return Buffer.from(DOMAIN + JSON.stringify(fields), 'utf8');
}
