import { z } from 'zod';
import { name, secret } from './secret-schema.ts';

/** How agents, people and programs prove who they are: the forms of it in the configuration. */

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

export const auth = z
  .strictObject({ scram: scram.optional(), jwt: jwt.optional(), cert: cert.optional() })
  .refine((value) => Object.keys(value).length === 1, 'expected exactly one of scram, jwt, cert');

/** Milliseconds. */
export const WINDOW_UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export const personJwt = z
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

const AUTOMATION_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/;
const automationName = z.string().regex(AUTOMATION_NAME, 'expected 1 to 63 of A-Z a-z 0-9 _ . -');

export const apiKey = z
  .strictObject({
    name,
    kind: z
      .enum(['person', 'automation'])
      .default('person')
      .describe('automation: a program that speaks for itself.'),
    automation: automationName
      .optional()
      .describe(
        "What rules call the automation; default: the key's name. Two keys of one automation overlap while one replaces the other.",
      ),
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
  .refine(({ kind, automation }) => kind === 'automation' || automation === undefined, {
    error: 'expected no automation, because kind is person',
  })
  .refine(
    ({ kind, name, automation }) =>
      kind !== 'automation' || automation !== undefined || AUTOMATION_NAME.test(name),
    {
      error: 'expected as name 1 to 63 of A-Z a-z 0-9 _ . -, or automation, because kind is automation',
    },
  );
