import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import type { Hono } from 'hono';
import type { ApprovalHandle } from '../../../src/approval/store.ts';
import { createHttpApp, type HttpDependencies } from '../../../src/channels/api/app.ts';
import { credentialCheck, type PersonTokens } from '../../../src/channels/api/credentials.ts';
import { Followers } from '../../../src/channels/api/followers.ts';
import { createConsole } from '../../../src/channels/console/app.ts';
import { type ConsoleSessions, consoleSessions } from '../../../src/channels/console/sessions.ts';
import type { Agent, ApiKey, Person } from '../../../src/config/config.ts';
import { DEFAULT_LIMITS, type Limits } from '../../../src/config/limits.ts';
import { principalsOf } from '../../../src/config/principals.ts';
import { type ApprovalWorld, PEOPLE } from '../../approval/support.ts';
import { conforming } from './conformance.ts';

export const AGENT_PASSWORD = 'agent-secret';
export const PUBLIC_URL = 'http://127.0.0.1:8080';

/** One API key for each person, `<id>-token`; one whose secret is the agent's password; one for nobody. */
export const API_KEYS: readonly ApiKey[] = [
  ...PEOPLE.map(({ id }) => ({ name: `${id}'s key`, sha256: sha256(`${id}-token`), person: id })),
  { name: 'second key of owner', sha256: sha256('owner-other-token'), person: 'owner' },
  { name: 'reused secret', sha256: sha256(AGENT_PASSWORD), person: 'reviewer' },
  { name: 'left over', sha256: sha256('ghost-token'), person: 'ghost' },
];
export const AGENTS: readonly Agent[] = [
  agent('other-agent', { kind: 'scram', verifier: scramVerifier('something else') }),
  agent('shop-agent', { kind: 'scram', verifier: scramVerifier(AGENT_PASSWORD) }),
];

export type HttpWorld = {
  readonly app: Hono;
  readonly approvals: ApprovalHandle;
  readonly sessions: ConsoleSessions;
  /** Of the app, to make another one with. */
  readonly dependencies: HttpDependencies;
};

export type HttpOptions = {
  readonly apiKeys?: readonly ApiKey[];
  readonly now?: () => number;
  readonly limits?: Partial<Limits>;
  readonly people?: readonly Person[];
  readonly personTokens?: PersonTokens;
  readonly changes?: Partial<HttpDependencies>;
};

/** The whole HTTP side on a real store; an answer that is not as the API describes it fails the test. */
export async function httpWorld(
  world: ApprovalWorld,
  publicUrl = PUBLIC_URL,
  options: HttpOptions = {},
): Promise<HttpWorld> {
  const { apiKeys = API_KEYS } = options;
  const people = principalsOf({ people: options.people ?? PEOPLE, http: { apiKeys } });
  const approvals = await world.open({
    people,
    publicUrl,
    limits: { openRequestsPerAgent: 1_000, ...options.limits },
  });
  const sessions = consoleSessions(approvals.pool);
  const check = credentialCheck(apiKeys, AGENTS, options.personTokens ?? null, options.now);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const log = { error: () => {} };
  const dependencies: HttpDependencies = {
    check,
    directory: { people },
    allowed: { address: () => true, credential: () => true, failure: () => true },
    refused: () => {},
    desk: approvals,
    auditSearch: null,
    followers: new Followers({ desk: approvals, limits, log }),
    agents: AGENTS,
    mode: 'enforce',
    policy: () => ({ policy: { digest: 'policy-1', rules: [] }, since: new Date(0) }),
    limits,
    version: '0.0.0',
    jwks: world.keys.jwks,
    readiness: async () => {
      await approvals.ping();
      return { ok: true, checks: { approvals: 'ok' } };
    },
    metrics: async () => '# HELP up\n',
    checkpoint: () => 'a signed note\n',
    console: createConsole({ desk: approvals, sessions, check, publicUrl }),
    log,
    ...options.changes,
  };
  return { app: conforming(createHttpApp(dependencies)), approvals, sessions, dependencies };
}

function agent(name: string, auth: Agent['auth']): Agent {
  return { name, auth, owner: 'owner', upstream: { user: 'shop_agent', password: 'upstream-secret' } };
}

export function scramVerifier(password: string): string {
  const salt = Buffer.from('0123456789abcdef');
  const salted = pbkdf2Sync(password, salt, 4096, 32, 'sha256');
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest();
  const stored = createHash('sha256').update(hmac('Client Key')).digest('base64');
  return `SCRAM-SHA-256$4096:${salt.toString('base64')}$${stored}:${hmac('Server Key').toString('base64')}`;
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function post(app: Hono, id: string, token: string | null, body: unknown): Promise<Response> {
  return Promise.resolve(
    app.request(`/api/requests/${id}/verdict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token === null ? {} : { authorization: token }) },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    }),
  );
}
