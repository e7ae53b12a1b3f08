import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import type { Hono } from 'hono';
import type { ApprovalHandle } from '../../../src/approval/store.ts';
import { createHttpApp } from '../../../src/channels/api/app.ts';
import { credentialCheck } from '../../../src/channels/api/credentials.ts';
import { createConsole } from '../../../src/channels/console/app.ts';
import { type ConsoleSessions, consoleSessions } from '../../../src/channels/console/sessions.ts';
import type { Agent } from '../../../src/config/config.ts';
import { type ApprovalWorld, PEOPLE } from '../../approval/support.ts';

export const AGENT_PASSWORD = 'agent-secret';
export const PUBLIC_URL = 'http://127.0.0.1:8080';

/** One API key for each person, `<id>-token`; one whose secret is the agent's password; one for nobody. */
export const API_KEYS = [
  ...PEOPLE.map(({ id }) => ({ name: `${id}'s key`, sha256: sha256(`${id}-token`), person: id })),
  { name: 'second key of owner', sha256: sha256('owner-other-token'), person: 'owner' },
  { name: 'reused secret', sha256: sha256(AGENT_PASSWORD), person: 'reviewer' },
  { name: 'left over', sha256: sha256('ghost-token'), person: 'ghost' },
];
export const AGENTS: readonly Pick<Agent, 'name' | 'auth'>[] = [
  { name: 'other-agent', auth: { kind: 'scram', verifier: scramVerifier('something else') } },
  { name: 'shop-agent', auth: { kind: 'scram', verifier: scramVerifier(AGENT_PASSWORD) } },
];

export type HttpWorld = {
  readonly app: Hono;
  readonly approvals: ApprovalHandle;
  readonly sessions: ConsoleSessions;
};

/** The whole HTTP side on a real store. */
export async function httpWorld(world: ApprovalWorld, publicUrl = PUBLIC_URL): Promise<HttpWorld> {
  const approvals = await world.open();
  const sessions = consoleSessions(approvals.pool);
  const check = credentialCheck(API_KEYS, AGENTS);
  const app = createHttpApp({
    desk: approvals,
    apiKeys: API_KEYS,
    agents: AGENTS,
    bodyBytes: 64 * 1024,
    jwks: world.keys.jwks,
    readiness: async () => {
      await approvals.ping();
      return { ok: true, checks: { approvals: 'ok' } };
    },
    metrics: async () => '# HELP up\n',
    console: createConsole({ desk: approvals, sessions, check, publicUrl }),
    log: { error: () => {} },
  });
  return { app, approvals, sessions };
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
