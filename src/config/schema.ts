import { z } from 'zod';
import { apiKey, auth, personJwt, WINDOW_UNITS } from './credential-schema.ts';
import { listedFunctions } from './function-schema.ts';
import { keysSection } from './keys-schema.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { network } from './network-schema.ts';
import { groupSchema, personSchema, retiredPasskeySchema } from './person-schema.ts';
import { ruleSchema } from './rule-schema.ts';
import { name, secret } from './secret-schema.ts';
import { webhook } from './webhook-schema.ts';

/** A URL without a password may be written down; one with a password is a secret. */
const databaseUrl = z
  .union([z.string(), secret])
  .describe('postgres://user@host:port/database without a password, or a secret with or without one.');

const tlsOfServer = z.strictObject({
  cert: name.describe('Path of the certificate chain, PEM.'),
  key: secret.describe('The private key, PEM; usually {file: PATH}.'),
  required: z.boolean().default(true).describe('Refuse clients that do not ask for TLS.'),
  clientCa: name
    .optional()
    .describe("Path of the authorities' certificates, PEM, that sign agents' own; agents with cert need it."),
});

const tlsOfUpstream = z.strictObject({
  mode: z.enum(['disable', 'require', 'verify-ca', 'verify-full']),
  ca: name.optional().describe("Path of the authorities' certificates, PEM. Default: the system's."),
});

const agent = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,62}$/, 'expected 1 to 63 of A-Z a-z 0-9 _ . @ -')
    .describe('What the agent logs in as.'),
  auth: auth.describe('How it proves who it is: one way each.'),
  owner: name.describe('Id of the person who answers for the agent and so cannot approve its requests.'),
  upstream: z.strictObject({
    user: name.describe('The database role that the agent works as.'),
    password: secret.optional(),
  }),
});

export const policyFileSchema = z.strictObject({
  rules: z
    .array(ruleSchema)
    .describe('The first that matches decides; after the last, the default table of classes.'),
});

const policy = z
  .strictObject({ file: name.optional(), rules: z.array(ruleSchema).optional() })
  .refine(({ file, rules }) => file === undefined || rules === undefined, {
    error: 'expected only one of file, rules',
  });

const positive = z.int().min(1).max(Number.MAX_SAFE_INTEGER);
const limitNames = Object.keys(DEFAULT_LIMITS) as (keyof Limits)[];
const limits = z.strictObject(
  Object.fromEntries(
    limitNames.map((limit) => [limit, positive.optional().describe(`Default ${DEFAULT_LIMITS[limit]}.`)]),
  ) as Record<keyof Limits, z.ZodOptional<z.ZodInt>>,
);

const tagRule = z.strictObject({
  relation: z
    .string()
    .regex(/^[^.]+\..+$/, 'expected a glob over schema.name, for example public.customers')
    .describe('A glob over schema.name.'),
  column: name.optional().describe('A glob over its columns; without it the relation itself is tagged.'),
  tags: z
    .array(z.string().regex(/^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/, 'expected A-Z a-z 0-9 _ . -'))
    .min(1),
});

const budget = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 of A-Z a-z 0-9 _ . -')
      .describe('What cards, errors and audit rows call the budget.'),
    agent: z
      .array(name)
      .min(1)
      .optional()
      .describe('Globs over agents; none: each agent has this budget for itself.'),
    tag: name.optional().describe('Only what reads data with this tag counts.'),
    rows: positive.optional(),
    bytes: positive.optional(),
    per: z
      .string()
      .regex(/^[1-9][0-9]{0,5}[smhd]$/, 'expected a number and s, m, h or d, for example 1h')
      .default('1h')
      .describe('Length of a window, at most 366d; windows are counted from 1970 UTC.')
      .transform(
        (text) =>
          Number(text.slice(0, -1)) * (WINDOW_UNITS[text.slice(-1) as keyof typeof WINDOW_UNITS] ?? 0),
      )
      .refine((ms) => ms <= 366 * 86_400_000, 'expected at most 366d'),
  })
  .refine(({ rows, bytes }) => rows !== undefined || bytes !== undefined, {
    error: 'expected rows, bytes or both',
  });

const slack = z
  .strictObject({
    mode: z.enum(['socket', 'http']).default('socket'),
    botToken: secret,
    appToken: secret.optional().describe('Socket Mode needs it.'),
    signingSecret: secret.optional().describe('HTTP mode needs it.'),
    teamId: name,
    channel: name.describe('Id of the channel for requests.'),
    apiUrl: z.url('expected a URL').optional(),
  })
  .refine(({ mode, appToken }) => mode !== 'socket' || appToken !== undefined, {
    error: 'expected appToken, because mode is socket',
  })
  .refine(({ mode, signingSecret }) => mode !== 'http' || signingSecret !== undefined, {
    error: 'expected signingSecret, because mode is http',
  });

const anchor = z
  .strictObject({
    file: name.optional().describe('Path of a file that checkpoints are added to, one a line.'),
    database: databaseUrl
      .optional()
      .describe(
        'Another database, with a table countersign_checkpoint (note text PRIMARY KEY, at timestamptz).',
      ),
    password: secret.optional().describe("That database's password."),
    webhook: z
      .url('expected a URL')
      .regex(/^https?:/, 'expected http or https')
      .optional()
      .describe('Each checkpoint is POSTed there as text; it is signed.'),
  })
  .refine(
    ({ password, ...places }) => Object.keys(places).length === 1,
    'expected exactly one of file, database, webhook',
  );

const address = z.string().describe('host:port');

/** The configuration file's form, before secrets are read and names are checked against one another. */
export const configSchema = z.strictObject({
  version: z.literal(1),
  mode: z
    .enum(['enforce', 'observe'])
    .default('enforce')
    .describe('observe: record what would have been held or denied, and let it run.'),
  listen: z
    .strictObject({ address: address.default('127.0.0.1:6432'), tls: tlsOfServer.optional() })
    .prefault({}),
  http: z
    .strictObject({
      address: address.default('127.0.0.1:8432'),
      publicUrl: z.url('expected a URL').optional().describe('How people reach the approval page.'),
      trustedProxies: z
        .array(network)
        .default([])
        .describe(
          'Networks of reverse proxies, whose X-Forwarded-For says who calls: for limits by address and the log. Default: none, the socket counts.',
        ),
      apiKeys: z.array(apiKey).default([]),
      jwt: personJwt.optional(),
    })
    .prefault({}),
  upstream: z.strictObject({
    url: databaseUrl,
    password: secret.optional(),
    tls: tlsOfUpstream.optional(),
  }),
  audit: z.strictObject({
    url: databaseUrl.describe('As the writer role.'),
    password: secret.optional(),
    adminUrl: databaseUrl.optional().describe('For migrations only.'),
    adminPassword: secret.optional(),
    readUrl: databaseUrl
      .optional()
      .describe(
        'As the auditor role, which reads the views and no more: for searches of the log over the API.',
      ),
    readPassword: secret.optional(),
    durability: z.enum(['standard', 'strict']).default('standard'),
    schema: z
      .string()
      .regex(
        /^(?!pg_)[A-Za-z_][A-Za-z0-9_-]{0,47}$/,
        'expected 1 to 48 of letters, digits, _ and -, not beginning with a digit, - or pg_',
      )
      .default('audit'),
    origin: z
      .string()
      .regex(/^[^\s+]{1,200}$/, 'expected no blanks and no +, for example example.com/countersign')
      .default('countersign')
      .describe('Names the log in its signed checkpoints; the same in all processes, and for good.'),
    anchors: z
      .array(anchor)
      .default([])
      .describe(
        'Where signed checkpoints of the log are kept besides, out of reach of who owns its database.',
      ),
    retention: z
      .string()
      .regex(/^[1-9]\d{0,4}d$/, 'expected whole days, for example 400d')
      .optional()
      .describe(
        'How long "countersign audit retention" keeps rows, which something must run. Default: for good.',
      ),
    parameters: z
      .enum(['full', 'digest', 'none'])
      .default('full')
      .describe(
        'What the log has of bind parameters, where the rule that decides does not say: their values, one SHA-256 over all of them, or their number. Approvers of a held statement see the values all the same.',
      ),
  }),
  agents: z.array(agent).min(1),
  people: z.array(personSchema).min(1),
  retiredPasskeys: z
    .array(retiredPasskeySchema)
    .default([])
    .describe(
      'Passkeys that were in people[].passkeys: published as revoked, so that what they signed can be verified.',
    ),
  groups: z.array(groupSchema).default([]),
  policy: policy.default({}),
  analysis: z
    .strictObject({
      second_opinion: z
        .enum(['off', 'hold'])
        .default('off')
        .describe('hold: also hold what a second, independent parser reads otherwise.'),
    })
    .prefault({}),
  functions: z.union([name.describe('Path of a file with one key: functions.'), listedFunctions]).default([]),
  limits: limits.default({}),
  tags: z
    .array(tagRule)
    .default([])
    .describe("What data is: adds to the words countersign:TAG in the database's comments."),
  budgets: z
    .array(budget)
    .default([])
    .describe(
      'What agents may read in a window; one without a tag takes the place of limits.budgetRows and budgetBytes.',
    ),
  slack: slack.optional(),
  webhooks: z.array(webhook).default([]).describe('Where is told what happens to requests.'),
  keys: keysSection.default({}),
  dataDirectory: name
    .default('.countersign')
    .describe('For the journal and, by default, the keys; relative to this file.'),
});

export type ConfigShape = z.output<typeof configSchema>;
