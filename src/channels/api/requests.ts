import type { Context, Hono } from 'hono';
import * as z from 'zod';
import type { ApprovalDesk, GuardResult, RequestFeed, SnoozeDesk } from '../../approval/guard.ts';
import { REASON_CHARACTERS, SNOOZE_MINUTES } from '../../approval/guard.ts';
import { REQUEST_STATES } from '../../approval/machine.ts';
import type { Caller } from './credentials.ts';
import type { Followers } from './followers.ts';
import { requestJson } from './json.ts';
import { type Gate, NO_QUERY, type Operation, serveOperation } from './operation.ts';
import { problem } from './problem.ts';
import {
  assertionSchema,
  cursor,
  requestPage,
  requestSchema,
  snoozeAnswer,
  verdictAnswer,
} from './schemas.ts';

const reason = z
  .string()
  .max(REASON_CHARACTERS)
  .nullish()
  .describe('Goes into the audit log; the agent is told it on denial.');

const listRequests = {
  id: 'listRequests',
  method: 'get',
  path: '/api/requests',
  summary: 'List requests, newest first',
  scopes: ['read'],
  query: z.strictObject({
    state: z.literal([...REQUEST_STATES, 'live', 'ended', 'all']).default('live'),
    agent: z.string().max(256).optional(),
    class: z.string().max(64).optional(),
    limit: z.coerce.number().int().min(1).max(200).default(100),
    cursor: cursor.optional(),
  }),
  answer: requestPage,
  answerType: 'application/json',
  problems: [],
} as const satisfies Operation;

const revision = z.string().regex(/^\d{1,18}$/, 'expected a revision: a decimal number');

const followRequests = {
  id: 'followRequests',
  method: 'get',
  path: '/api/requests/events',
  summary: 'Server-Sent Events: every live request, then every change',
  description:
    'Each event `request` has a request as data and its revision as id; each change comes at least once, and of one request never an older one after a newer. `reset`: too much was missed, list the requests anew. What does not read is cut.',
  scopes: ['read'],
  query: z.strictObject({
    after: revision.optional().describe('As Last-Event-ID, which wins.'),
  }),
  headers: {
    'last-event-id': 'Begins with what changed after this revision, instead of with every live request.',
  },
  answer: z.string(),
  answerType: 'text/event-stream',
  problems: ['too_many_streams'],
} as const satisfies Operation;

/** Longest that a call waits, seconds: what is between gives up after a minute. */
const LONGEST_WAIT = 50;

const showRequest = {
  id: 'showRequest',
  method: 'get',
  path: '/api/requests/{id}',
  summary: 'One request, with the whole statement',
  description:
    'With `wait` the answer comes when there is news, or when the time is over, as the request then is.',
  scopes: ['read'],
  query: z.strictObject({
    wait: z
      .string()
      .regex(/^\d{1,2}s$/, 'expected seconds, for example 30s')
      .transform((text) => Number(text.slice(0, -1)))
      .refine((seconds) => seconds <= LONGEST_WAIT, `expected at most ${LONGEST_WAIT}s`)
      .optional()
      .describe(`At most ${LONGEST_WAIT}s: until it is answered, or, with \`after\`, until it changes.`),
    after: revision.optional().describe('News is what has a higher revision.'),
  }),
  answer: requestSchema,
  answerType: 'application/json',
  problems: ['not_found', 'too_many_streams'],
} as const satisfies Operation;

const giveVerdict = {
  id: 'giveVerdict',
  method: 'post',
  path: '/api/requests/{id}/verdict',
  summary: 'Approve or deny',
  description:
    'Safe to repeat: the same verdict of the same person changes nothing and is answered with 200. With `all`, each of those that are shown as one with it (`alike`) is answered by itself, the oldest first.',
  scopes: ['approve', 'deny'],
  query: NO_QUERY,
  body: z.object({
    verdict: z.literal(['approve', 'deny']),
    reason,
    passkey: assertionSchema
      .optional()
      .describe(
        "Assurance 3: what the caller's passkey has signed, with the user verified, over the request's `passkey.challenge`. One that does not fit refuses the approval; a denial needs none. It is for one request, so not with `all`.",
      ),
    all: z
      .union([z.boolean(), z.array(z.string()).max(200)])
      .optional()
      .describe('Also those that are shown as one with it: all that are open now, or only those named.'),
  }),
  answer: verdictAnswer,
  answerType: 'application/json',
  problems: [
    'self_approval',
    'not_an_approver',
    'automation_not_named',
    'not_on_call',
    'assurance_too_low',
    'passkey_refused',
    'too_fast',
    'not_found',
    'already_ended',
    'already_answered',
    'request_altered',
  ],
} as const satisfies Operation;

const putOff = {
  id: 'putOff',
  method: 'post',
  path: '/api/requests/{id}/snooze',
  summary: 'Put a request off, for oneself',
  description:
    'Changes nothing about the request, and nobody else sees it. It comes last in the listings of the caller until then.',
  scopes: ['approve', 'deny'],
  query: NO_QUERY,
  body: z.object({ minutes: z.int().min(0).max(SNOOZE_MINUTES).describe('0: no longer.') }),
  answer: snoozeAnswer,
  answerType: 'application/json',
  problems: ['unknown_person', 'ambiguous_person', 'not_found', 'already_ended'],
} as const satisfies Operation;

const withdrawApproval = {
  id: 'withdrawApproval',
  method: 'post',
  path: '/api/requests/{id}/withdraw',
  summary: 'Take back an approval that was not used yet',
  description:
    'By whoever had approved, or may answer the request. Its receipt releases nothing any more; once the statement is released it is too late (already_ended).',
  scopes: ['deny'],
  query: NO_QUERY,
  body: z.object({ reason }),
  answer: verdictAnswer,
  answerType: 'application/json',
  problems: ['self_approval', 'not_an_approver', 'not_found', 'already_ended', 'not_approved'],
} as const satisfies Operation;

const showReceipt = {
  id: 'showReceipt',
  method: 'get',
  path: '/api/requests/{id}/receipt',
  summary: 'The signed receipt of an approved request',
  description: 'A JWS in compact form (RFC 7515), EdDSA by a key of /.well-known/jwks.json.',
  scopes: ['read'],
  query: NO_QUERY,
  answer: z.string(),
  answerType: 'application/jose',
  problems: ['not_found', 'no_receipt'],
} as const satisfies Operation;

export const REQUEST_OPERATIONS: readonly Operation[] = [
  listRequests,
  followRequests,
  showRequest,
  giveVerdict,
  putOff,
  withdrawApproval,
  showReceipt,
];

/** Requests and answers. Who may do what with which request is the guard's business. */
export function requestRoutes(
  app: Hono,
  gate: Gate,
  desk: ApprovalDesk & RequestFeed & SnoozeDesk,
  followers: Followers,
): void {
  serveOperation(
    app,
    gate,
    listRequests,
    async ({ caller, query: { cursor: after, agent, class: rank, state, limit } }) => {
      const page = await desk.list({
        state,
        limit,
        ...(agent === undefined ? {} : { agent }),
        ...(rank === undefined ? {} : { class: rank }),
        ...(after === undefined ? {} : { after }),
      });
      const snoozed = await desk.snoozed(caller.identities);
      // Of each page, what the caller has put off comes last.
      const listed = [false, true].flatMap((off) => page.filter(({ id }) => snoozed.has(id) === off));
      return {
        requests: listed.map((view) => requestJson(view, snoozed.get(view.id) ?? null)),
        next: page.length < limit ? null : (page.at(-1)?.id ?? null),
      };
    },
  );

  serveOperation(app, gate, followRequests, async ({ c, query, caller }) => {
    const last = c.req.header('last-event-id') ?? query.after;
    const after = last === undefined ? null : revision.safeParse(last);
    if (after?.success === false) return problem(c, 'invalid_query', z.prettifyError(after.error));
    // Nobody would read a stream, and so nobody would end it.
    if (c.req.raw.method === 'HEAD') return c.body(null, 200, { 'content-type': 'text/event-stream' });
    const from = after === null ? null : BigInt(after.data);
    return followers.stream(c, caller, from) ?? tooManyStreams(c, followers);
  });

  serveOperation(app, gate, showRequest, async ({ c, query: { wait, after }, caller }) => {
    const id = idOf(c);
    const from = after === undefined ? null : BigInt(after);
    const view =
      wait === undefined
        ? await desk.get(id)
        : await followers.wait(c, caller, { id, after: from, ms: wait * 1000 });
    if (view === 'busy') return tooManyStreams(c, followers);
    return view === null ? noSuchRequest(c) : requestJson(view);
  });

  serveOperation(app, gate, putOff, async ({ c, body, caller }) => {
    const refused = await desk.snooze(idOf(c), caller.identities, body.minutes);
    if (refused !== null) return problem(c, refused.code, refused.message);
    return { id: idOf(c), minutes: body.minutes };
  });

  serveOperation(
    app,
    gate,
    giveVerdict,
    async ({ c, body, caller }) => {
      const may = (['approve', 'deny'] as const).filter((one) => caller.scopes.includes(one));
      const { passkey } = body;
      const said = spoken(c, caller);
      const attestation = { ...said.attestation, ...(passkey === undefined ? {} : { passkey }) };
      const answer = { ...said, attestation, verdict: body.verdict, reason: body.reason ?? null, may };
      const { all = false } = body;
      if (passkey !== undefined && all !== false)
        return problem(c, 'invalid_body', 'A passkey signs one request: leave out `all`, or the passkey.');
      return guardAnswer(
        c,
        ...(all === false
          ? [await desk.guard.decide(answer)]
          : await desk.guard.decideAll(answer, all === true ? null : all)),
      );
    },
    {
      agentTried: async (c, agent) => {
        await desk.guard.decide({ ...spokenByAgent(c, agent), verdict: 'approve', reason: null });
      },
    },
  );

  serveOperation(
    app,
    gate,
    withdrawApproval,
    async ({ c, body, caller }) => {
      const may = caller.scopes.includes('deny') ? (['deny'] as const) : [];
      return guardAnswer(c, await desk.takeBack({ ...spoken(c, caller), reason: body.reason ?? null, may }));
    },
    {
      agentTried: async (c, agent) => {
        await desk.takeBack({ ...spokenByAgent(c, agent), reason: null });
      },
    },
  );

  serveOperation(app, gate, showReceipt, async ({ c }) => {
    const view = await desk.get(idOf(c));
    if (view === null) return noSuchRequest(c);
    if (view.receipt === null)
      return problem(c, 'no_receipt', `Nobody has approved it: it is ${view.state}.`);
    return c.body(view.receipt, 200, { 'content-type': 'application/jose' });
  });
}

/** Attacker-controlled. */
function idOf(c: Context): string {
  return c.req.param('id') ?? '';
}

function tooManyStreams(c: Context, { closed }: Followers): Response {
  if (closed) return problem(c, 'unavailable', 'This process is stopping. Another one may answer.');
  return problem(c, 'too_many_streams', 'Too many streams and waiting calls are open.', {
    'retry-after': '5',
  });
}

function noSuchRequest(c: Context): Response {
  return problem(c, 'not_found', 'There is no such request.');
}

function spoken(c: Context, { identities, alsoKnownAs = [], assurance, facts }: Caller) {
  return {
    requestId: idOf(c),
    channel: 'api',
    person: identities,
    alsoKnownAs,
    attestation: { assurance, facts },
  } as const;
}

/** An agent at the approvers' door: refused like any other answer, by the guard, so that the attempt is an entry. */
function spokenByAgent(c: Context, agent: string) {
  return {
    requestId: idOf(c),
    channel: 'api',
    person: [{ kind: 'agent', value: agent }],
    attestation: { assurance: 1, facts: {} },
  } as const;
}

/** What became of the first; where that counted, with what became of the others. */
function guardAnswer(
  c: Context,
  ...results: readonly GuardResult[]
): z.input<typeof verdictAnswer> | Response {
  const [first] = results;
  if (first === undefined) return noSuchRequest(c);
  if (!first.ok) return problem(c, first.code, first.message);
  const { id, state, person, repeated, approvals, quorum } = first;
  const last = results.filter((result) => result.ok).at(-1);
  const answered = results.map((result) =>
    result.ok
      ? { id: result.id, state: result.state, code: null }
      : { id: null, state: result.state, code: result.code },
  );
  return { id, state, person, repeated, approvals, quorum, notice: last?.notice ?? null, answered };
}
