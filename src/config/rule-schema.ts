import { z } from 'zod';
import { durationMs } from '../policy/duration.ts';
import { nameParts } from '../policy/name-globs.ts';
import { WEEKDAYS } from '../policy/rule.ts';
import { hoursOf, isZone } from '../policy/time-window.ts';
import { STATEMENT_CLASSES } from '../statement/analysis.ts';
import { BOUNDARIES } from '../statement/details.ts';

const name = z.string().min(1);
const names = z.array(name).min(1);
const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

/** Globs over names of that many parts, each quoted where Postgres would need it. */
function globs(parts: number, form: string) {
  const one = z
    .string()
    .refine(
      (text) => nameParts(text)?.length === parts,
      `expected a glob over ${form}, for example ${EXAMPLES[parts]}`,
    );
  return z.array(one).min(1);
}

const EXAMPLES: Readonly<Record<number, string>> = { 2: 'public.*', 3: 'public.customers.email' };

const relationGlob = z
  .string()
  .min(1)
  .refine((text) => nameParts(text) !== null, 'expected double quotes in pairs');

function size(what: string) {
  return z
    .strictObject({
      above: count.optional().describe(`For rules that hold or deny: more ${what} than this.`),
      atMost: count.optional().describe(`For rules that allow: so many ${what} or fewer.`),
    })
    .refine((value) => Object.keys(value).length === 1, 'expected exactly one of above, atMost');
}

const windowKeys = {
  days: z
    .array(z.enum(WEEKDAYS))
    .min(1)
    .optional()
    .describe('Days of the moment itself, also after midnight. Default: every day.'),
  hours: z
    .string()
    .refine((text) => hoursOf(text) !== null, 'expected HH:MM-HH:MM, for example 08:00-18:00')
    .optional()
    .describe('From, until; over midnight where it ends before it begins. Default: all day.'),
  zone: z
    .string()
    .refine(isZone, 'expected the IANA name of a time zone, for example Europe/Berlin or UTC')
    .optional()
    .describe('Whose clock. Default: UTC.'),
};

const hasTime = ({ days, hours }: { readonly days?: unknown; readonly hours?: unknown }) =>
  days !== undefined || hours !== undefined;

const window = z.strictObject(windowKeys).refine(hasTime, 'expected days, hours or both');

const onCall = z
  .strictObject({ ...windowKeys, approvers: names.describe('Ids of people or names of groups.') })
  .refine(hasTime, 'expected days, hours or both');

const match = z
  .strictObject({
    agent: names.optional().describe('Globs over names of agents.'),
    owner: names.optional().describe('Globs over ids of their owners.'),
    database: names.optional().describe('Globs over names of databases.'),
    role: names.optional().describe('Globs over the database roles that agents work as.'),
    class: z
      .array(z.enum(STATEMENT_CLASSES))
      .min(1)
      .optional()
      .describe('What the statement is; it has the highest class of its parts.'),
    command: names
      .optional()
      .describe(
        "Globs over the command tag, for example 'DROP *', over what an ALTER TABLE does ('ALTER TABLE DROP COLUMN'), and over what is in a WITH or run by EXPLAIN ANALYZE. To hold or deny, one is enough; to allow, all must match, and classes must be named as well.",
      ),
    relation: z
      .array(relationGlob)
      .min(1)
      .optional()
      .describe(
        'Globs over schema.name, of every relation that is touched, also behind views. To hold or deny, one that matches is enough; to allow, all must match.',
      ),
    column: globs(3, 'schema.relation.column')
      .optional()
      .describe(
        'Globs over schema.relation.column, of what is read and stored. To hold or deny, one is enough, and where nobody can tell which it could be any; to allow, all must be known and match.',
      ),
    function: globs(2, 'schema.name')
      .optional()
      .describe(
        "Globs over schema.name, of what the statement's text calls; Postgres' own are in pg_catalog. To hold or deny, one is enough; to allow, all must match.",
      ),
    tag: names
      .optional()
      .describe(
        'Globs over tags of what is touched. To hold or deny, one is enough, and a relation that is not known could have any; to allow, everything must have tags, and all must match.',
      ),
    boundary: z
      .array(z.enum(BOUNDARIES))
      .min(1)
      .optional()
      .describe('What the statement reaches beyond its own database and role.'),
    rows: size('rows')
      .optional()
      .describe(
        'Rows that can come back, be folded into the result, or be written: by keys, LIMIT and statistics, else as the planner expects. Where nothing tells, and for what is no query, they are above any number.',
      ),
    bytes: size('bytes')
      .optional()
      .describe(
        'Bytes that can come back. Nothing tells how many before the statement runs, so of any result they are above any number; to stop a result at a size, give limits.',
      ),
    time: z.array(window).min(1).optional().describe('One of these is when the statement is judged.'),
  })
  .describe('All that are given must hold; none given matches everything.');

const limits = z
  .strictObject({
    rows: count.optional().describe('Rows that the result of a statement may have.'),
    bytes: count.optional().describe('Bytes that the result of a statement may have.'),
  })
  .refine((value) => Object.keys(value).length > 0, 'expected rows, bytes or both');

const slackChannel = z
  .string()
  .regex(/^[CGUW][A-Z0-9]+$/, 'expected the id of a Slack channel or user, for example C0123456789');

const escalate = z
  .strictObject({
    after: z
      .string()
      .refine(
        (text) => durationMs(text) !== null,
        'expected a whole number and s, m, h or d, for example 10m',
      )
      .describe('How long the request has been open by then.'),
    approvers: names
      .optional()
      .describe(
        "Ids of people or names of groups that may answer from then on, beside the rule's approvers.",
      ),
    channel: slackChannel.optional().describe('Slack channel, or person, that gets a card of its own then.'),
  })
  .refine(
    ({ approvers, channel }) => approvers !== undefined || channel !== undefined,
    'expected approvers, channel or both',
  );

export const ruleSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 of A-Z a-z 0-9 _ . -')
    .describe('What decisions and audit rows call the rule.'),
  mode: z
    .enum(['enforce', 'observe'])
    .optional()
    .describe(
      'observe: what the rule would decide is recorded ("countersign report"), and the next rules decide. Default: enforce.',
    ),
  match,
  decision: z.enum(['allow', 'hold', 'deny']),
  limits: limits
    .optional()
    .describe(
      'For rules that allow: where a result is stopped. For rules that hold: what an approval allows; people are shown it, and the receipt has it.',
    ),
  parameters: z
    .enum(['full', 'digest', 'none'])
    .optional()
    .describe(
      'What the log has of the bind parameters of a statement that the rule decides: their values, one SHA-256 over all of them, or their number. Default: audit.parameters.',
    ),
  approvers: names.optional().describe('Ids of people or names of groups. Default: everybody.'),
  quorum: z
    .int()
    .min(1)
    .max(20)
    .optional()
    .describe('How many different people have to approve. Default: 1.'),
  assurance: z
    .union([z.literal(1), z.literal(2), z.literal(3)])
    .optional()
    .describe('1 a click, 2 a fresh log-in, 3 a passkey. Default: 1.'),
  expiry: z
    .string()
    .refine((text) => durationMs(text) !== null, 'expected a whole number and s, m, h or d, for example 30m')
    .optional()
    .describe('How long the request stays open. Default: limits.requestLifetimeMs.'),
  holdTimeout: z
    .string()
    .refine((text) => durationMs(text) !== null, 'expected a whole number and s, m, h or d, for example 90s')
    .optional()
    .describe(
      'How long the connection waits for the answer; then the agent is told to send the statement again later. In a transaction limits.holdTimeoutInTransactionMs counts, if that is less. Default: limits.holdTimeoutMs.',
    ),
  channel: slackChannel
    .optional()
    .describe(
      'Slack channel that gets the card, or the Slack user who gets it as a message. Default: slack.channel.',
    ),
  onCall: z
    .array(onCall)
    .min(1)
    .max(20)
    .optional()
    .describe(
      'Quiet hours: while one of these windows holds, only those of the approvers whom it names are asked and may approve; at other times all are. Denying is always possible.',
    ),
  maxPerMinute: z
    .int()
    .min(1)
    .max(1_000)
    .optional()
    .describe(
      'Approvals that one person may give within a minute, over all requests; one more is refused (too_fast). Default: limits.approvalsPerMinutePerPerson.',
    ),
  escalate: escalate
    .optional()
    .describe(
      'Who is asked as well when nobody has answered for a time; people are shown it from the beginning.',
    ),
});

export type RuleShape = z.output<typeof ruleSchema>;
