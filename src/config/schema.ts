import { z } from 'zod';
import { listedFunctions } from './function-schema.ts';
import { keysSection } from './keys-schema.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { ruleSchema } from './rule-schema.ts';
import { secret } from './secret-schema.ts';
import { webhook } from './webhook-schema.ts';

const WINDOW_UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const name = z.string().min(1);

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

const scram = z
  .union([z.string(), secret])
  .describe('SCRAM verifier as "countersign agent add" prints it, or where it is kept.');

const jwks = z
  .strictObject({
    url: z.url('expected a URL').optional().describe('https, or http on this machine; fetched and cached.'),
    file: name.optional().describe('Path of a JSON Web Key Set; read once, at the start.'),
    inline: z
      .strictObject({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) })
      .optional()
      .describe('The set itself: public keys only.'),
  })
  .refine((value) => Object.keys(value).length === 1, 'expected exactly one of url, file, inline');

/** Asymmetric ones alone: with HMAC, whoever can verify a token can make one. */
const JWT_ALGORITHMS = [
  ...['EdDSA', 'Ed25519', 'ES256', 'ES384', 'ES512'],
  ...['PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'],
] as const;

const jwt = z
  .strictObject({
    issuer: name.describe("The tokens' iss, exactly."),
    audience: name.describe("What the tokens' aud must be or contain."),
    jwks: jwks.describe("The issuer's public keys (RFC 7517)."),
    algorithms: z
      .array(z.enum(JWT_ALGORITHMS))
      .min(1)
      .default([...JWT_ALGORITHMS])
      .describe('Signature algorithms that are taken.'),
  })
  .describe("A JWT as the password, over TLS; its sub is the agent's name.");

const cert = z
  .strictObject({
    fingerprints: z
      .array(
        z
          .string()
          .regex(/^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$/, 'expected a sha256: 64 hexadecimal digits'),
      )
      .default([])
      .describe('sha256 of the only certificates that are taken; empty: any with the CN.'),
  })
  .describe("A client certificate of listen.tls.clientCa; its CN is the agent's name.");

const auth = z
  .strictObject({ scram: scram.optional(), jwt: jwt.optional(), cert: cert.optional() })
  .refine((value) => Object.keys(value).length === 1, 'expected exactly one of scram, jwt, cert');

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

const person = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 of A-Z a-z 0-9 _ . -'),
  email: z.email('expected an e-mail address'),
  slack: z
    .array(z.string().regex(/^[A-Z0-9]+\/[A-Z0-9]+$/, 'expected TEAM/USER, for example T012AB/U345CD'))
    .default([]),
  oidc: z.array(name).default([]).describe('Subjects at the identity provider, ISSUER#SUB.'),
  groups: z.array(name).default([]),
});

const group = z.strictObject({
  name,
  slackUserGroup: z
    .string()
    .regex(/^S[A-Z0-9]+$/, 'expected the id of a Slack user group, for example S012AB')
    .optional(),
});

const personJwt = z
  .strictObject({
    ...jwt.shape,
    freshLogin: z
      .strictObject({
        maxAge: z
          .string()
          .regex(/^[1-9][0-9]{0,5}[smhd]$/, 'expected a number and s, m, h or d, for example 10m')
          .transform(
            (text) => Number(text.slice(0, -1)) * WINDOW_UNITS[text.slice(-1) as keyof typeof WINDOW_UNITS],
          )
          .describe('How long ago auth_time may be.'),
        acr: z.array(name).default([]).describe('Values of acr that say so.'),
        amr: z.array(name).default([]).describe('Values of amr, one of which says so.'),
      })
      .refine(({ acr, amr }) => acr.length + amr.length > 0, 'expected acr, amr or both')
      .optional()
      .describe('When a token is of assurance 2: a fresh log-in. Without it every token is of assurance 1.'),
    clients: z
      .array(name)
      .min(1)
      .optional()
      .describe(
        'Clients whose tokens are taken, by azp or client_id. Default: any: then the audience must be for people alone.',
      ),
    auditors: z
      .array(name)
      .default([])
      .describe('Ids of people and names of groups who may search the audit log with a token.'),
  })
  .describe("Tokens (JWT) of the people's identity provider, as bearer tokens of the API.");

/** Of the first moment at which it is over, milliseconds since 1970 UTC. */
const expiry = z
  .string()
  .refine(
    (text) => !Number.isNaN(expiryMs(text)),
    'expected a date, for example 2027-12-31, or a time with its zone',
  )
  .transform(expiryMs)
  .describe('Refused after this day (UTC), or from this time on.');

function expiryMs(text: string): number {
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return Date.parse(`${text}T00:00:00Z`) + WINDOW_UNITS['d'];
  return /T.*(?:Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN;
}

const apiKey = z
  .strictObject({
    name,
    kind: z
      .enum(['person', 'automation'])
      .default('person')
      .describe('automation: a program that speaks for itself; its name is what rules call it.'),
    person: name.optional().describe('Id of the person whom the key stands for.'),
    owner: name
      .optional()
      .describe('For an automation: id of the person who answers for it; they count as one approver.'),
    scopes: z
      .array(z.enum(['read', 'deny', 'approve', 'audit']))
      .min(1)
      .optional()
      .describe('Default: read, deny and approve; for an automation read and deny.'),
    expires: expiry.optional(),
    token: secret.optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hexadecimal digits')
      .optional(),
  })
  .refine(({ token, sha256 }) => (token === undefined) !== (sha256 === undefined), {
    error: 'expected exactly one of token, sha256',
  })
  .refine(({ kind, person, owner }) => kind !== 'person' || (person !== undefined && owner === undefined), {
    error: 'expected person, and no owner, because kind is person',
  })
  .refine(
    ({ kind, person, owner }) => kind !== 'automation' || (owner !== undefined && person === undefined),
    {
      error: 'expected owner, and no person, because kind is automation',
    },
  )
  .refine(({ kind, name }) => kind !== 'automation' || /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/.test(name), {
    error: 'expected as name 1 to 63 of A-Z a-z 0-9 _ . -, because kind is automation',
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
    durability: z.enum(['standard', 'strict']).default('standard'),
    schema: z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'expected a lower-case identifier')
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
  }),
  agents: z.array(agent).min(1),
  people: z.array(person).min(1),
  groups: z.array(group).default([]),
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
