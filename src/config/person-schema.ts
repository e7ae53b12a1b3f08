import { z } from 'zod';

const name = z.string().min(1);

const coordinate = z
  .string()
  .regex(/^[A-Za-z0-9_-]{43}$/, 'expected 32 bytes in base64url, 43 characters without padding');

const passkeyJwk = z
  .strictObject({ kty: z.literal('EC'), crv: z.literal('P-256'), x: coordinate, y: coordinate })
  .describe('Its public key, a JWK.');

const passkeySchema = z.strictObject({
  id: z
    .string()
    .regex(/^[A-Za-z0-9_-]{8,1366}$/, 'expected the id of the credential, in base64url')
    .describe('Of the credential, base64url.'),
  key: passkeyJwk,
});

export const retiredPasskeySchema = z.strictObject({
  person: name.describe('Whose it was; who has left need not be among people.'),
  key: passkeyJwk,
  retired: z.iso
    .datetime({ offset: true, error: 'expected a time, for example 2026-12-31T00:00:00Z' })
    .describe('When the last process that took it ended: nothing counts that it signs from then on.')
    .transform((text) => Math.ceil(Date.parse(text) / 1000)),
});

/** A person and every account that is theirs: an account of two people is an error (`cross-check.ts`). */
export const personSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 of A-Z a-z 0-9 _ . -'),
  email: z.email('expected an e-mail address'),
  slack: z
    .array(z.string().regex(/^[A-Z0-9]+\/[A-Z0-9]+$/, 'expected TEAM/USER, for example T012AB/U345CD'))
    .default([]),
  oidc: z.array(name).default([]).describe('Subjects at the identity provider, ISSUER#SUB.'),
  teams: z
    .array(
      z
        .string()
        .regex(
          /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/,
          'expected TENANT/OBJECT, two ids of Microsoft Entra',
        ),
    )
    .default([])
    .describe('Accounts in Microsoft Teams, TENANT/OBJECT: the ids of the tenant and of the user in Entra.'),
  groups: z.array(name).default([]),
  passkeys: z
    .array(passkeySchema)
    .default([])
    .describe(
      'Keys of their own devices, as the approval page prints them; what is not here counts nowhere.',
    ),
});

export const groupSchema = z.strictObject({
  name,
  slackUserGroup: z
    .string()
    .regex(/^S[A-Z0-9]+$/, 'expected the id of a Slack user group, for example S012AB')
    .optional(),
});
