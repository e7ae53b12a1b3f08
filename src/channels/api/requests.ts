import { type Context, Hono } from 'hono';
import * as z from 'zod';
import type { ApprovalDesk, Identity } from '../../approval/guard.ts';
import { REASON_CHARACTERS } from '../../approval/guard.ts';
import { REQUEST_STATES } from '../../approval/machine.ts';
import type { CredentialCheck } from './credentials.ts';
import { requestJson } from './json.ts';
import { GUARD_STATUS, problem } from './problem.ts';

const verdictBody = z.object({
  verdict: z.literal(['approve', 'deny']),
  reason: z.string().max(REASON_CHARACTERS).nullish(),
});

const listQuery = z.object({
  state: z.literal([...REQUEST_STATES, 'live', 'ended', 'all']).default('live'),
  limit: z.coerce.number().int().min(1).max(200).default(100),
});

type Env = { Variables: { identities: readonly Identity[]; keyName: string } };

/** `/api/requests`. Every route needs a credential; what it may do is the guard's business. */
export function requestRoutes(desk: ApprovalDesk, check: CredentialCheck): Hono<Env> {
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    const credential = await check(c.req.header('authorization'));
    if (credential.kind === 'none') {
      return problem(c, 401, 'no_credential', 'An API key is needed: Authorization: Bearer <token>.');
    }
    if (credential.kind === 'agent') return refuseAgent(c, desk, credential.agent);
    c.set('identities', credential.identities);
    c.set('keyName', credential.keyName);
    return next();
  });

  app.get('/', async (c) => {
    const query = listQuery.safeParse(c.req.query());
    if (!query.success) return problem(c, 422, 'invalid_query', z.prettifyError(query.error));
    return c.json({ requests: (await desk.list(query.data)).map(requestJson) });
  });

  app.get('/:id', async (c) => {
    const view = await desk.get(c.req.param('id'));
    return view === null
      ? problem(c, 404, 'not_found', 'There is no such request.')
      : c.json(requestJson(view));
  });

  app.post('/:id/verdict', async (c) => {
    const body = verdictBody.safeParse(await c.req.json().catch(() => undefined));
    if (!body.success) return problem(c, 422, 'invalid_body', z.prettifyError(body.error));
    const result = await desk.guard.decide({
      requestId: c.req.param('id'),
      channel: 'api',
      person: c.get('identities'),
      verdict: body.data.verdict,
      reason: body.data.reason ?? null,
      attestation: { assurance: 1, facts: { key: c.get('keyName') } },
    });
    if (!result.ok) return problem(c, GUARD_STATUS[result.code], result.code, result.message);
    const { id, state, person, repeated, approvals, quorum } = result;
    return c.json({ id, state, person, repeated, approvals, quorum });
  });
  return app;
}

/** An agent at the approvers' door: refused like any other answer, by the guard, so that the attempt is an entry. */
async function refuseAgent(c: Context, desk: ApprovalDesk, agent: string): Promise<Response> {
  const [, requestId] = /\/api\/requests\/([^/]+)\/verdict$/.exec(c.req.path) ?? [];
  const person = [{ kind: 'agent', value: agent }] as const;
  if (c.req.method === 'POST' && requestId !== undefined) {
    const attestation = { assurance: 1, facts: {} } as const;
    await desk.guard.decide({
      requestId,
      channel: 'api',
      person,
      verdict: 'approve',
      reason: null,
      attestation,
    });
  }
  return problem(c, 403, 'agent_credential', "This is an agent's credential. Agents answer no requests.");
}
