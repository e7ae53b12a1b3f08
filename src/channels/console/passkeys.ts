import type { Context, Hono } from 'hono';
import type { PasskeyAssertion, PasskeyDesk, SnoozeDesk } from '../../approval/guard.ts';
import { creationOptions, madePasskey } from '../../signing/ceremony.ts';
import { passkeyThumbprint, relyingPartyOf } from '../../signing/passkey.ts';
import type { PasskeyChallenges } from './challenges.ts';
import { crossSite, type Env, identitiesOf, isOwnForm, visitorOf } from './entrance.ts';
import { madePage, passkeysPage } from './passkey-pages.ts';

export type PasskeyDependencies = {
  readonly desk: PasskeyDesk & SnoozeDesk;
  readonly challenges: PasskeyChallenges;
  readonly publicUrl: string;
};

export const PASSKEY_PATHS = ['/passkeys', '/passkeys/options'] as const;

/**
 * Making a passkey. Nothing of it is kept, but an entry in the log that it was made: whoever keeps the configuration adds what the page shows, and until then it
 * counts nowhere, so that neither a stolen session nor the database can add one.
 */
export function passkeyRoutes(app: Hono<Env>, deps: PasskeyDependencies): void {
  const { desk, challenges, publicUrl } = deps;
  const party = relyingPartyOf(publicUrl);
  app.get('/passkeys', (c) => showPasskeys(c, deps, 200, null));
  app.post('/passkeys/options', async (c) => {
    const form = await c.req.parseBody();
    const session = c.get('session');
    if (party === null || !isOwnForm(c, publicUrl, form['csrf'])) return crossSite(c);
    const known = desk.passkeysOf(identitiesOf(session));
    const challenge = await challenges.issue(session.token);
    return c.json(await creationOptions(party, session.person, known, challenge));
  });
  app.post('/passkeys', async (c) => {
    const form = await c.req.parseBody();
    const session = c.get('session');
    const { csrf, credential } = form;
    if (party === null || !isOwnForm(c, publicUrl, csrf)) return crossSite(c);
    if (typeof credential !== 'string') return showPasskeys(c, deps, 422, 'Passkeys need JavaScript.');
    const passkey = await madePasskey(credential, party, (challenge) =>
      challenges.use(session.token, challenge),
    );
    if (passkey === null) return showPasskeys(c, deps, 422, NOT_MADE);
    const { id, key } = passkey;
    await desk.passkeyMade(identitiesOf(session), { id, thumbprint: passkeyThumbprint(key) });
    return c.html(madePage(await visitorOf(desk, session, publicUrl), passkey));
  });
}

const NOT_MADE =
  'What the browser sent is no passkey that was made for this page just now, with its user verified. Try again.';

async function showPasskeys(
  c: Context<Env>,
  { desk, publicUrl }: PasskeyDependencies,
  status: 200 | 422,
  problem: string | null,
): Promise<Response> {
  const visitor = await visitorOf(desk, c.get('session'), publicUrl);
  return c.html(passkeysPage(visitor, publicUrl, problem), status);
}

/** The assertion that the page's script put into a form (attacker-controlled); null: it is none. */
export function assertionIn(field: unknown): PasskeyAssertion | null {
  if (typeof field !== 'string') return null;
  try {
    const { id, authenticatorData, clientDataJSON, signature } = JSON.parse(field) as Record<string, unknown>;
    if (typeof id !== 'string' || typeof authenticatorData !== 'string') return null;
    if (typeof clientDataJSON !== 'string' || typeof signature !== 'string') return null;
    return { id, authenticatorData, clientDataJSON, signature };
  } catch {
    return null;
  }
}
