import { publicKeyFault } from '../signing/public-jwk.ts';
import type { AgentAuth, JwtAuth, KeySource, PersonJwt } from './config.ts';
import type { Path } from './document.ts';
import type { Reader } from './reader.ts';
import type { ConfigShape } from './schema.ts';
import { parseScramVerifier } from './scram-verifier.ts';

type AuthShape = ConfigShape['agents'][number]['auth'];
type JwtShape = NonNullable<AuthShape['jwt']>;

/** How one agent logs in; what is wrong is told to the reader. The form has checked that there is one way. */
export async function buildAuth(
  reader: Reader,
  path: Path,
  name: string,
  auth: AuthShape,
): Promise<AgentAuth> {
  if (auth.jwt !== undefined) return buildJwt(reader, [...path, 'jwt'], auth.jwt);
  if (auth.cert !== undefined)
    return {
      kind: 'cert',
      fingerprints: auth.cert.fingerprints.map((text) => text.replaceAll(':', '').toLowerCase()),
    };
  const at: Path = [...path, 'scram'];
  const verifier =
    typeof auth.scram === 'string'
      ? auth.scram
      : auth.scram === undefined
        ? ''
        : await reader.secret(at, auth.scram);
  // What is no verifier may be the password itself: it is not quoted.
  if (verifier !== '' && parseScramVerifier(verifier) === null)
    reader.fail(
      'config_invalid_value',
      at,
      `expected a SCRAM-SHA-256 verifier as "countersign agent add ${name}" prints it`,
    );
  return { kind: 'scram', verifier };
}

/** The people's issuer; what is wrong is told to the reader. */
export async function buildPersonJwt(
  reader: Reader,
  path: Path,
  shape: ConfigShape['http']['jwt'],
): Promise<PersonJwt | null> {
  if (shape === undefined) return null;
  const { freshLogin, clients, auditors } = shape;
  return {
    ...(await buildJwt(reader, path, shape)),
    freshLogin:
      freshLogin === undefined
        ? null
        : { maxAgeMs: freshLogin.maxAge, acr: freshLogin.acr, amr: freshLogin.amr },
    clients: clients ?? null,
    auditors,
  };
}

async function buildJwt(reader: Reader, path: Path, shape: JwtShape): Promise<JwtAuth> {
  const { issuer, audience, algorithms } = shape;
  return {
    kind: 'jwt',
    issuer,
    audience,
    algorithms,
    keys: await keySource(reader, [...path, 'jwks'], shape.jwks),
  };
}

async function keySource(reader: Reader, path: Path, shape: JwtShape['jwks']): Promise<KeySource> {
  if (shape.url !== undefined) {
    const url = new URL(shape.url);
    const here = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && here))
      reader.fail(
        'config_invalid_value',
        [...path, 'url'],
        'expected https: who can change the keys on their way can be any agent',
      );
    if (url.password !== '')
      reader.fail('config_literal_secret', [...path, 'url'], 'the URL has a password in it; keys are public');
    return { kind: 'url', url: url.href };
  }
  if (shape.inline !== undefined) {
    const at: Path = [...path, 'inline', 'keys'];
    shape.inline.keys.forEach((key, index) => {
      checkKey(reader, [...at, index], `key ${index}`, key);
    });
    return { kind: 'set', keys: shape.inline.keys };
  }
  const at: Path = [...path, 'file'];
  const text = await reader.file(at, shape.file ?? '');
  const keys = keysOf(text);
  if (keys === null && text !== '')
    reader.fail('config_invalid_value', at, 'expected a file with {"keys": […]}, one public key or more');
  keys?.forEach((key, index) => {
    checkKey(reader, at, `key ${index}`, key);
  });
  return { kind: 'set', keys: keys ?? [] };
}

/** The keys of a JWK set's text; null where it is none. */
export function keysOf(text: string): Record<string, unknown>[] | null {
  let set: unknown;
  try {
    set = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof set !== 'object' || set === null || !('keys' in set)) return null;
  const { keys } = set;
  return Array.isArray(keys) && keys.length > 0 && keys.every(isRecord) ? keys : null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Tells the reader of what is no public key. */
export function checkKey(reader: Reader, path: Path, what: string, key: Record<string, unknown>): void {
  const fault = publicKeyFault(key);
  if (fault === null) return;
  const code = fault.secret ? 'config_literal_secret' : 'config_invalid_value';
  reader.fail(code, path, `${what} ${fault.problem}`);
}
