import type { Context } from 'hono';
import type { Identity, PasskeyDesk, SnoozeDesk } from '../../approval/guard.ts';
import { relyingPartyOf } from '../../signing/passkey.ts';
import { messagePage } from './pages.ts';
import { formToken, isFormToken } from './sessions.ts';
import type { Visitor } from './visitor.ts';

/** Who is signed in, on every page behind the entrance. */
export type Session = { readonly token: string; readonly person: string; readonly assurance: 1 | 2 };
export type Env = { Variables: { session: Session } };

/** A form of ours, sent from a page of ours: the browser's own word (Origin, Sec-Fetch-Site), and the form's token. */
export function isOwnForm(c: Context<Env>, publicUrl: string, token: unknown): boolean {
  const origin = c.req.header('origin');
  const own = [
    new URL(publicUrl).origin,
    `http://${c.req.header('host')}`,
    `https://${c.req.header('host')}`,
  ];
  const site = c.req.header('sec-fetch-site');
  if (origin === undefined || !own.includes(origin)) return false;
  if (site !== undefined && site !== 'same-origin') return false;
  return typeof token === 'string' && isFormToken(c.get('session').token, token);
}

export function crossSite(c: Context): Response | Promise<Response> {
  return c.html(
    messagePage(
      'Not sent from this page',
      'The form came from another site, or is too old. Nothing was changed.',
    ),
    403,
  );
}

export function identitiesOf({ person }: Session): readonly Identity[] {
  return [{ kind: 'person', value: person }];
}

export async function visitorOf(
  desk: SnoozeDesk & PasskeyDesk,
  session: Session,
  publicUrl: string,
): Promise<Visitor> {
  const identities = identitiesOf(session);
  return {
    person: session.person,
    formToken: formToken(session.token),
    snoozed: await desk.snoozed(identities),
    passkeys: desk.passkeysOf(identities),
    rpId: relyingPartyOf(publicUrl)?.id ?? null,
  };
}
