/** How a client proves who it is: password (SCRAM), token (JWT) or certificate. One way for each agent. */
import { createHmac, randomBytes } from 'node:crypto';
import type { Agent, AgentAuth } from '../config/config.ts';
import type { Limits } from '../config/limits.ts';
import { encodeFrame } from '../protocol/backend.ts';
import { FRONTEND } from '../protocol/frontend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { type TokenCheck, TokenRefused, tokenCheck } from '../signing/agent-token.ts';
import { issuerKeys, KeysUnavailable } from '../signing/issuer-keys.ts';
import type { ClientCertificate } from './client-certificate.ts';
import { LoginRefused } from './client-parameters.ts';
import { beginScram, type ChannelBinding, mockSecretOf, ScramError } from './scram-server.ts';

/** Who a client is, and what its credential says besides. */
export type Proof = {
  readonly agent: Agent;
  /** The person it acts for. */
  readonly onBehalfOf: string | null;
  readonly run: string | null;
  /** When the credential ends, milliseconds since 1970; null: it does not. */
  readonly until: number | null;
};

/** A client that says it is `user`. What is read is attacker-controlled. */
export type Claimant = {
  readonly user: string;
  /** Null: no TLS. */
  readonly secured: { readonly certificate: ClientCertificate | null } | null;
  readonly read: (length: number) => Promise<Buffer>;
  readonly write: (bytes: Buffer) => void;
};

/** Rejects with `LoginRefused` or `ScramError`. AuthenticationOk is left to the caller. */
export type Authentication = (claimant: Claimant) => Promise<Proof>;

export type AuthenticationSetup = {
  readonly agents: readonly Agent[];
  readonly limits: Limits;
  /** `tls-server-end-point` of our certificate; null: SCRAM-SHA-256-PLUS is not offered. */
  readonly endPoint: Buffer | null;
  /** Something else that nobody knows; it helps to make unknown users look like known ones. */
  readonly secret: string | null;
};

export const AUTHENTICATION_OK = authentication(0, Buffer.alloc(0));
export const TLS_REQUIRED = [
  SQLSTATE.invalidAuthorization,
  'countersign: TLS is required',
  'Connect with sslmode=require or stricter.',
] as const;

/**
 * A user that does not exist is asked in one of the ways that agents have, always the same one for that name, and goes
 * through the same steps: neither the way nor the time says who exists.
 */
export function createAuthentication(setup: AuthenticationSetup): Authentication {
  const agents = new Map(setup.agents.map((agent) => [agent.name, agent]));
  const secrets = setup.agents.flatMap(({ auth }) => (auth.kind === 'scram' ? [auth.verifier] : []));
  if (setup.secret !== null) secrets.push(setup.secret);
  const mockSecret = mockSecretOf(secrets);
  const tokens = tokenChecks(setup);
  return async (claimant) => {
    const { user } = claimant;
    const agent = agents.get(user) ?? null;
    const auth = agent?.auth ?? borrowedAuth(user, setup.agents, mockSecret);
    if (auth.kind === 'scram') {
      const verifier = agent === null ? null : auth.verifier;
      await proveByScram(claimant, verifier, mockSecret, setup);
      if (agent === null) throw passwordRefused(user);
      return { agent, onBehalfOf: null, run: null, until: null };
    }
    if (claimant.secured === null) throw new LoginRefused(...TLS_REQUIRED);
    if (auth.kind === 'cert') {
      const certificate = checkCertificate(user, claimant.secured.certificate, auth.fingerprints);
      if (agent === null) throw certificateRefused(user);
      return { agent, onBehalfOf: null, run: null, until: certificate.until };
    }
    const check = tokens.get(auth);
    if (check === undefined) throw new Error('an agent without its token check');
    const token = await proveByToken(claimant, check, setup.limits);
    if (agent === null) throw tokenRefused(user, OTHER_AGENT);
    return { agent, onBehalfOf: token.onBehalfOf, run: token.run, until: token.until };
  };
}

/** One check for each agent, one key set for each issuer's URL. */
function tokenChecks({ agents, limits }: AuthenticationSetup): ReadonlyMap<AgentAuth, TokenCheck> {
  const keySets = new Map<string, ReturnType<typeof issuerKeys>>();
  const checks = new Map<AgentAuth, TokenCheck>();
  for (const { auth } of agents) {
    if (auth.kind !== 'jwt') continue;
    const id = JSON.stringify(auth.keys);
    const keys = keySets.get(id) ?? issuerKeys(auth.keys, limits);
    keySets.set(id, keys);
    checks.set(auth, tokenCheck(auth, limits, keys));
  }
  return checks;
}

function borrowedAuth(user: string, agents: readonly Agent[], secret: Buffer): AgentAuth {
  const digest = createHmac('sha256', secret).update(`way:${user}`).digest();
  const agent = agents[digest.readUInt32BE(0) % Math.max(1, agents.length)];
  return agent?.auth ?? { kind: 'scram', verifier: '' };
}

async function proveByScram(
  claimant: Claimant,
  verifier: string | null,
  mockSecret: Buffer,
  { endPoint, limits }: AuthenticationSetup,
): Promise<void> {
  const { user } = claimant;
  const bindable = claimant.secured === null ? null : endPoint;
  const offer = bindable === null ? 'SCRAM-SHA-256\0\0' : 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0';
  claimant.write(authentication(10, Buffer.from(offer)));
  const first = await passwordMessage(claimant, limits.startupBytes, 'SASL');
  const end = first.indexOf(0);
  const channel = channelOf(first.toString('utf8', 0, Math.max(0, end)), bindable);
  if (end === -1 || channel === null || first.length < end + 5)
    throw new LoginRefused(
      SQLSTATE.protocolViolation,
      'client selected an invalid SASL authentication mechanism',
    );
  if (first.readInt32BE(end + 1) !== first.length - end - 5)
    throw new LoginRefused(SQLSTATE.protocolViolation, 'malformed SCRAM message');
  const nonce = randomBytes(18).toString('base64');
  const exchange = beginScram(first.toString('utf8', end + 5), user, verifier, nonce, mockSecret, channel);
  claimant.write(authentication(11, Buffer.from(exchange.serverFirst)));
  const final = (await passwordMessage(claimant, limits.startupBytes, 'SASL')).toString('utf8');
  let serverFinal: string;
  try {
    serverFinal = exchange.finish(final);
  } catch (error) {
    if (error instanceof ScramError && error.code === '28P01') throw passwordRefused(user);
    throw error;
  }
  claimant.write(authentication(12, Buffer.from(serverFinal)));
}

function channelOf(mechanism: string, endPoint: Buffer | null): ChannelBinding | null {
  if (mechanism === 'SCRAM-SHA-256') return { kind: 'none', offered: endPoint !== null };
  if (mechanism === 'SCRAM-SHA-256-PLUS' && endPoint !== null) return { kind: 'bound', endPoint };
  return null;
}

async function proveByToken(claimant: Claimant, check: TokenCheck, limits: Limits) {
  const { user } = claimant;
  claimant.write(authentication(3, Buffer.alloc(0)));
  const body = await passwordMessage(claimant, limits.tokenBytes, 'password');
  // The text ends with the only NUL (auth.c, recv_password_packet).
  if (body.length === 0 || body.indexOf(0) !== body.length - 1)
    throw new LoginRefused(SQLSTATE.protocolViolation, 'invalid password packet size');
  if (body.length === 1)
    throw new LoginRefused(SQLSTATE.invalidPassword, 'empty password returned by client');
  try {
    const token = await check(body.toString('latin1', 0, body.length - 1));
    if (token.subject !== user) throw new TokenRefused(OTHER_AGENT);
    return token;
  } catch (error) {
    if (error instanceof TokenRefused) throw tokenRefused(user, error.message);
    if (!(error instanceof KeysUnavailable)) throw error;
    throw new LoginRefused(
      SQLSTATE.connectionFailure,
      'countersign: tokens cannot be verified at the moment, so none is taken',
      "The issuer's keys cannot be fetched. Try again later; nothing is wrong with the token as far as is known.",
    );
  }
}

const OTHER_AGENT = 'its sub is another than the user of the connection';

function checkCertificate(
  user: string,
  certificate: ClientCertificate | null,
  fingerprints: readonly string[],
): ClientCertificate {
  if (certificate === null)
    throw new LoginRefused(SQLSTATE.invalidAuthorization, 'connection requires a valid client certificate');
  const pinned = fingerprints.length === 0 || fingerprints.includes(certificate.fingerprint);
  if (certificate.commonName !== user || !pinned) throw certificateRefused(user);
  return certificate;
}

function passwordRefused(user: string): LoginRefused {
  return new LoginRefused(SQLSTATE.invalidPassword, `password authentication failed for user "${user}"`);
}

function certificateRefused(user: string): LoginRefused {
  return new LoginRefused(
    SQLSTATE.invalidAuthorization,
    `certificate authentication failed for user "${user}"`,
  );
}

function tokenRefused(user: string, why: string): LoginRefused {
  return new LoginRefused(
    SQLSTATE.invalidPassword,
    `token authentication failed for user "${user}"`,
    `The password must be a JWT that the proxy accepts: ${why}.`,
  );
}

/** The body of a `p` message of at most `limit` bytes. */
async function passwordMessage(claimant: Claimant, limit: number, what: string): Promise<Buffer> {
  const head = await claimant.read(5);
  if (head[0] !== FRONTEND.password)
    throw new LoginRefused(
      SQLSTATE.protocolViolation,
      `expected ${what} response, got message type ${head[0]}`,
    );
  const length = head.readInt32BE(1);
  if (length < 4 || length > limit)
    throw new LoginRefused(SQLSTATE.protocolViolation, 'invalid password packet size');
  return claimant.read(length - 4);
}

function authentication(kind: number, body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(kind, 0);
  return encodeFrame(0x52, Buffer.concat([head, body]));
}
