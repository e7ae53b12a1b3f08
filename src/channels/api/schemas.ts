import * as z from 'zod';
import { REQUEST_STATES } from '../../approval/machine.ts';
import type { RequestState } from '../../approval/port.ts';

/** What the API gives, in JSON: every answer has one of these forms, and OpenAPI is made from them. */

/** Schemas that OpenAPI names under `components`. */
export const NAMED = z.registry<{ readonly id: string }>();

const time = z.iso.datetime().describe('UTC.');
/** Counts can exceed what JSON numbers hold exactly. */
const decimal = z.string().regex(/^\d+$/).describe('A decimal number.');
const stateOf = z.literal(REQUEST_STATES as readonly [RequestState, ...RequestState[]]);
const sha256 = z.string().describe('sha256, 64 hexadecimal digits.');
const textList = z.array(z.string()).readonly();
const assurance = z.literal([1, 2, 3]);

const finding = z.strictObject({
  label: z.string(),
  text: z.string(),
  items: textList.describe('The first of `of`.'),
  of: z.int(),
});

const context = z.strictObject({
  claims: z.array(z.strictObject({ key: z.string(), value: z.string() })).readonly(),
  boundary: textList,
  relations: z
    .array(
      z.strictObject({
        name: z.string(),
        mode: z.literal(['read', 'write']),
        read: textList.nullable(),
        written: textList.nullable(),
        tags: textList,
      }),
    )
    .readonly(),
  findings: z.array(finding).readonly(),
  sent: z.strictObject({ rows: decimal, bytes: decimal }).nullable(),
});

const verdict = z.strictObject({
  person: z.string(),
  channel: z.literal(['slack', 'teams', 'api', 'console']),
  verdict: z.literal(['approve', 'deny']),
  reason: z.string().nullable(),
  assurance,
  at: time,
});

/** Names and forms are a contract: add, never change. */
export const requestSchema = z
  .strictObject({
    id: z.string().regex(/^req_[0-9A-Za-z]{20,26}$/),
    state: stateOf,
    revision: decimal.describe('Rises with every change of any request; also the id of its events.'),
    agent: z.string(),
    owner: z.string().nullable(),
    onBehalfOf: z.string().nullable(),
    run: z.string().nullable(),
    runVerified: z.boolean(),
    applicationName: z.string().nullable(),
    clientAddress: z.string().nullable(),
    database: z.string(),
    role: z.string(),
    searchPath: z.string(),
    sql: z
      .string()
      .describe(
        'The whole statement, invisible characters made visible and secrets replaced. Chosen by the agent.',
      ),
    cut: z
      .boolean()
      .describe(
        'In listings and events: the statement is cut or parameters are left out; ask for the request itself.',
      ),
    sqlLength: z.int().describe('Bytes that would run.'),
    sqlSha256: sha256,
    parameters: z
      .array(
        z.strictObject({
          typeOid: z.int(),
          format: z.literal([0, 1]),
          shown: z.string().nullable(),
          length: z.int(),
        }),
      )
      .readonly()
      .nullable(),
    command: z.string(),
    class: z.string(),
    rule: z.string(),
    reasons: textList,
    relations: z.array(z.strictObject({ name: z.string(), mode: z.literal(['read', 'write']) })).readonly(),
    inTransaction: z.boolean(),
    context: context
      .nullable()
      .describe('What was found out when the request was opened; null: nothing was.'),
    facts: z.array(finding).readonly().describe('For people: the same lines as in every other channel.'),
    approvers: textList.describe(
      'People, groups and automations that may approve; empty: anybody but the parties.',
    ),
    quorum: z.int(),
    assurance,
    escalation: z
      .strictObject({ at: time, approvers: textList })
      .nullable()
      .describe('From that time on these may answer as well; null: nobody is asked later on.'),
    escalated: z.boolean().describe('That time has come.'),
    limits: z
      .strictObject({ rows: z.int().nullable(), bytes: z.int().nullable() })
      .describe('Most that an approval lets the result of each statement be; null: no limit.'),
    policyDigest: z.string(),
    digest: sha256.describe('What an approval is bound to.'),
    passkey: z
      .strictObject({
        challenge: z
          .string()
          .describe('The digest as base64url: the challenge of navigator.credentials.get.'),
        rpId: z.string(),
        origin: z.string().describe('Where the assertion must come from.'),
      })
      .nullable()
      .describe('What a passkey has to sign; null: the address of this installation has none.'),
    createdAt: time,
    expiresAt: time,
    waiting: z.boolean().describe('A client waits on its connection right now.'),
    waitsUntil: time
      .nullable()
      .describe('How long it waits; the request stays open after it. Null: no client waits.'),
    alike: textList.describe(
      'Open requests for the very same, this one among them, oldest first: `all` in a verdict answers each. Empty where this one is not open.',
    ),
    refusals: z
      .int()
      .describe('Statements of its agent that were refused within ten minutes because it asks too much.'),
    onCall: z
      .array(
        z.strictObject({
          days: textList.optional(),
          hours: z.string().optional(),
          zone: z.string().optional(),
          approvers: textList,
          later: textList.optional().describe('Who may as well, once it has escalated.'),
        }),
      )
      .readonly()
      .describe('While one of these windows holds, only those that it names may approve.'),
    onCallNow: z
      .array(textList)
      .readonly()
      .describe(
        'Of the windows that hold now: whom each names. Who approves must be in each; none: no window holds.',
      ),
    maxPerMinute: z.int().nullable().describe('Approvals that one person may give within a minute.'),
    snoozedUntil: time.nullable().describe('In listings: the caller has put it off.'),
    url: z.string(),
    verdicts: z.array(verdict).readonly(),
    endedAt: time.nullable(),
    endReason: z.string().nullable(),
    outcome: z
      .strictObject({
        tag: z.string().nullable(),
        rows: decimal,
        bytes: decimal,
        sqlstate: z.string().nullable(),
      })
      .nullable(),
    elapsedMs: z
      .int()
      .nullable()
      .describe('From the release to the outcome, by the database; null: not known.'),
    receipt: z.string().nullable().describe('JWS, once approved.'),
  })
  .register(NAMED, { id: 'Request' });

const signed = z
  .string()
  .max(4_096)
  .regex(/^[A-Za-z0-9_-]+$/, 'expected base64url');

/** What a device has signed, as `navigator.credentials.get` gives it. */
export const assertionSchema = z.strictObject({
  id: signed.describe('Of the credential.'),
  authenticatorData: signed,
  clientDataJSON: signed,
  signature: signed.describe('ECDSA on P-256 with SHA-256, DER.'),
});

export const cursor = z.string().max(512).describe('`next` of the page before.');

export const requestPage = z
  .strictObject({
    requests: z.array(requestSchema).readonly(),
    next: z.string().nullable().describe('Cursor of the next page; null: this is the last.'),
  })
  .register(NAMED, { id: 'RequestPage' });

export const verdictAnswer = z
  .strictObject({
    id: z.string(),
    state: stateOf,
    person: z.string().describe('Whose verdict counts.'),
    repeated: z.boolean().describe('The same had been said before: nothing changed.'),
    approvals: z.int(),
    quorum: z.int(),
    notice: z
      .string()
      .nullable()
      .describe('For the person: that they approve very fast, or that they are flooded.'),
    answered: z
      .array(
        z.strictObject({
          id: z.string().nullable(),
          state: stateOf.nullable(),
          code: z.string().nullable().describe('Why it was refused; nothing after it was tried.'),
        }),
      )
      .readonly()
      .describe('Each request that was answered, oldest first: with `all` there may be several.'),
  })
  .register(NAMED, { id: 'VerdictAnswer' });

export const snoozeAnswer = z
  .strictObject({ id: z.string(), minutes: z.int() })
  .register(NAMED, { id: 'SnoozeAnswer' });

export const agentList = z
  .strictObject({
    agents: z
      .array(
        z.strictObject({
          name: z.string(),
          owner: z.string().describe('Answers for the agent, and never approves its requests.'),
          role: z.string().describe('The database role that it works as.'),
          login: z.literal(['scram', 'jwt', 'cert']),
          issuer: z.string().nullable().describe('Of its tokens.'),
          fingerprints: textList.describe(
            'Of the only certificates that are taken; empty: any with its name.',
          ),
        }),
      )
      .readonly(),
  })
  .register(NAMED, { id: 'Agents' });

export const policySchema = z
  .strictObject({
    digest: z.string(),
    mode: z.literal(['enforce', 'observe']),
    since: time.describe('When this process put it in force.'),
    rules: z
      .array(z.looseObject({ name: z.string() }))
      .readonly()
      .describe('In their order, as stored.'),
  })
  .register(NAMED, { id: 'Policy' });

export const auditStatement = z
  .strictObject({
    stream: z.string(),
    seq: decimal,
    at: time,
    sessionId: z.string().nullable(),
    agent: z.string(),
    owner: z.string().nullable(),
    onBehalfOf: z.string().nullable(),
    run: z.string().nullable(),
    database: z.string(),
    role: z.string(),
    sql: z.string().nullable().describe('As the agent sent it, secrets replaced; null: erased.'),
    cut: z.boolean(),
    sqlSha256: sha256.nullable(),
    class: z.string(),
    decision: z.literal(['allow', 'hold', 'deny']),
    rule: z.string(),
    reasons: textList,
    relations: textList,
    requestId: z.string().nullable(),
    approvers: textList,
    outcome: z.literal(['executed', 'failed', 'denied', 'expired', 'withdrawn', 'unknown']).nullable(),
    tag: z.string().nullable(),
    rows: decimal.nullable(),
    bytes: decimal.nullable(),
    durationUs: decimal.nullable(),
    sqlstate: z.string().nullable(),
    policyDigest: z.string().nullable(),
  })
  .register(NAMED, { id: 'AuditStatement' });

export const auditPage = z
  .strictObject({
    statements: z.array(auditStatement).readonly(),
    next: z.string().nullable().describe('Cursor of the next page; null: this is the last.'),
  })
  .register(NAMED, { id: 'AuditPage' });

export const readinessSchema = z
  .strictObject({ ok: z.boolean(), checks: z.record(z.string(), z.string()) })
  .register(NAMED, { id: 'Readiness' });

const publicJwk = z.looseObject({ kty: z.string(), kid: z.string() });

export const jwksSchema = z
  .strictObject({
    keys: z.array(publicJwk).readonly(),
    revoked: z
      .array(publicJwk)
      .readonly()
      .optional()
      .describe('Keys that are not to be believed any more, each with revoked: {revoked_at, reason}.'),
  })
  .register(NAMED, { id: 'KeySet' });

export const problemSchema = z
  .strictObject({
    type: z.literal('about:blank'),
    status: z.int(),
    code: z.string().describe('Stable.'),
    title: z.string(),
    detail: z.string(),
  })
  .register(NAMED, { id: 'Problem' });
