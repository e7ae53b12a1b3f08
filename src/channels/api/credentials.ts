import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import type { Identity } from '../../approval/guard.ts';
import type { Agent, ApiKey, Scope } from '../../config/config.ts';
import { claimedBy } from '../../signing/agent-token.ts';

/** What came with a request, once judged. */
export type Credential =
  | Caller
  /** An agent's credential, or something that names one: refused everywhere. */
  | { readonly kind: 'agent'; readonly agent: string }
  /** One that is known, or would be, and is not taken. `why` is for its owner. */
  | {
      readonly kind: 'refused';
      readonly code: 'key_expired' | 'token_refused' | 'issuer_unavailable';
      readonly why: string;
    }
  | { readonly kind: 'none' };

/** Who calls, proved. Whether that is somebody who may answer anything is the guard's to say. */
export type Caller = {
  readonly kind: 'caller';
  readonly identities: readonly Identity[];
  /** Other names of theirs, which forbid and identify nobody; left out: none. */
  readonly alsoKnownAs?: readonly string[];
  /** Names whoever speaks by it, for limits. Which credential it was is in `facts`. */
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly assurance: 1 | 2;
  /** For the receipt. */
  readonly facts: Readonly<Record<string, string>>;
  /** Milliseconds since 1970 UTC, from which on it is refused; null: it has no end. */
  readonly until: number | null;
};

export type CredentialCheck = (authorization: string | undefined) => Promise<Credential>;

/** Judges a token (attacker-controlled) of the people's issuer; null: it is no such token. */
export type PersonTokens = (token: string) => Promise<Credential | null>;

export const PERSON_SCOPES: readonly Scope[] = ['read', 'deny', 'approve'];
export const AUTOMATION_SCOPES: readonly Scope[] = ['read', 'deny'];

type KnownAgent = Pick<Agent, 'name' | 'auth'>;

/** Longest header that is looked at, characters: tokens of identity providers have some 2,000. */
const CREDENTIAL = 16_384;

/**
 * Reads an `Authorization` header (attacker-controlled). Named API keys are compared by sha256 in constant time; each
 * stands for a person, or for an automation. An agent's credential is recognised as Basic with an agent's name, or a
 * bearer that is an agent's token or password: also when somebody made that same secret an API key.
 */
export function credentialCheck(
  apiKeys: readonly ApiKey[],
  agents: readonly KnownAgent[],
  personTokens: PersonTokens | null = null,
  now: () => number = Date.now,
): CredentialCheck {
  const agentOf = passwordOwner(agents);
  return async (authorization) => {
    const text = authorization ?? '';
    const [, scheme, value] = /^([A-Za-z]+) +([^ ]+)$/.exec(text.length > CREDENTIAL ? '' : text) ?? [];
    if (scheme === undefined || value === undefined) return { kind: 'none' };
    if (scheme.toLowerCase() === 'basic') return basicCredential(value, agents);
    if (scheme.toLowerCase() !== 'bearer') return { kind: 'none' };
    const key = matchingKey(value, apiKeys);
    const named = tokenOwner(value, agents);
    if (named !== null) return { kind: 'agent', agent: named };
    const person = key === null ? ((await personTokens?.(value)) ?? null) : null;
    if (person !== null) return person;
    const agent = await agentOf(value, key !== null);
    if (agent !== null) return { kind: 'agent', agent };
    return key === null ? { kind: 'none' } : keyCredential(key, now());
  };
}

function keyCredential(key: ApiKey, nowMs: number): Credential {
  if (key.expiresAt !== undefined && key.expiresAt <= nowMs) {
    const when = new Date(key.expiresAt).toISOString();
    return { kind: 'refused', code: 'key_expired', why: `The API key ${key.name} expired at ${when}.` };
  }
  const automation = key.owner !== undefined;
  return {
    kind: 'caller',
    identities: [{ kind: automation ? 'automation' : 'person', value: key.person }],
    // Limits count whoever speaks: a second key gives nobody more.
    name: `${automation ? 'automation' : 'person'}:${key.person}`,
    scopes: key.scopes ?? (automation ? AUTOMATION_SCOPES : PERSON_SCOPES),
    assurance: 1,
    facts: { key: key.name },
    until: key.expiresAt ?? null,
  };
}

/** Basic is no way to sign in here; it is read only to tell an agent that it cannot. */
function basicCredential(value: string, agents: readonly KnownAgent[]): Credential {
  const [name = ''] = Buffer.from(value, 'base64').toString('utf8').split(':', 1);
  return agents.some((agent) => agent.name === name) ? { kind: 'agent', agent: name } : { kind: 'none' };
}

/**
 * Whose token is this? Not verified, because it is refused in any case: a token that names an agent as who it is of, who
 * asked for it, or who uses it for somebody.
 */
function tokenOwner(token: string, agents: readonly KnownAgent[]): string | null {
  const claimed = claimedBy(token);
  if (claimed === null) return null;
  return agents.find(({ name }) => claimed.parties.includes(name))?.name ?? null;
}

function matchingKey(token: string, apiKeys: readonly ApiKey[]): ApiKey | null {
  const presented = createHash('sha256').update(token).digest();
  let found: ApiKey | null = null;
  // Every key is compared, so that the time does not say which one it was.
  for (const key of apiKeys) {
    const known = Buffer.from(key.sha256, 'hex');
    if (known.length === presented.length && timingSafeEqual(known, presented)) found = key;
  }
  return found;
}

const VERIFIER = /^SCRAM-SHA-256\$(\d{1,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/;
const derive = promisify(pbkdf2);
/** Tokens whose answer is remembered, by sha256. */
const REMEMBERED = 1_000;

/**
 * Whose password is this? RFC 5802: StoredKey = H(HMAC(PBKDF2(password), "Client Key")). That costs milliseconds for
 * each agent, so an unknown token is looked at only while no other one is; a valid API key always, once.
 */
function passwordOwner(
  agents: readonly KnownAgent[],
): (token: string, always: boolean) => Promise<string | null> {
  const answers = new Map<string, string | null>();
  let busy = false;
  return async (token, always) => {
    const digest = createHash('sha256').update(token).digest('hex');
    const known = answers.get(digest);
    if (known !== undefined) return known;
    if (busy && !always) return null;
    busy = true;
    try {
      const owner = await ownerOf(token, agents);
      const [oldest] = answers.keys();
      if (answers.size >= REMEMBERED && oldest !== undefined) answers.delete(oldest);
      answers.set(digest, owner);
      return owner;
    } finally {
      busy = false;
    }
  };
}

async function ownerOf(token: string, agents: readonly KnownAgent[]): Promise<string | null> {
  for (const { name, auth } of agents) {
    const verifier = auth.kind === 'scram' ? auth.verifier : '';
    const [, iterations, salt, storedKey] = VERIFIER.exec(verifier) ?? [];
    if (iterations === undefined || salt === undefined || storedKey === undefined) continue;
    const salted = await derive(
      token.normalize('NFKC'),
      Buffer.from(salt, 'base64'),
      Number(iterations),
      32,
      'sha256',
    );
    const clientKey = createHmac('sha256', salted).update('Client Key').digest();
    const stored = createHash('sha256').update(clientKey).digest();
    const wanted = Buffer.from(storedKey, 'base64');
    if (wanted.length === stored.length && timingSafeEqual(wanted, stored)) return name;
  }
  return null;
}
