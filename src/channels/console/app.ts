import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Context, Hono } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import {
  type ApprovalDesk,
  type ApproverCheck,
  type GuardResult,
  type PasskeyDesk,
  type RequestView,
  SNOOZE_MINUTES,
  type SnoozeDesk,
} from '../../approval/guard.ts';
import type { CredentialCheck } from '../api/credentials.ts';
import { GUARD_STATUS } from '../api/problem.ts';
import { crossSite, type Env, identitiesOf, isOwnForm, visitorOf } from './entrance.ts';
import { listPage, messagePage, requestPage, signedInPage } from './pages.ts';
import { PASSKEY_SCRIPT } from './passkey-script.ts';
import { assertionIn, PASSKEY_PATHS, passkeyRoutes } from './passkeys.ts';
import { REFRESH_SCRIPT } from './refresh-script.ts';
import type { ConsoleSessions } from './sessions.ts';
import { waysOf } from './ways.ts';

export type ConsoleDependencies = {
  readonly desk: ApprovalDesk & ApproverCheck & PasskeyDesk & SnoozeDesk;
  readonly sessions: ConsoleSessions;
  /** Recognises agents' credentials, which are refused here as everywhere. */
  readonly check: CredentialCheck;
  readonly publicUrl: string;
};

const COOKIE = 'countersign_session';
const ENDED_SHOWN = 20;
/** Requests that one button answers at most. */
const ALIKE_SHOWN = 200;

/** The pages on which people read and answer requests. Server-rendered; works without JavaScript, but for passkeys. */
export function createConsole(deps: ConsoleDependencies): Hono {
  const app = new Hono();
  const assets: readonly (readonly [string, string, string])[] = [
    ['console.css', 'text/css', ownFile('./console.css')],
    ['icon.svg', 'image/svg+xml', ownFile('./icon.svg')],
    ['refresh.js', 'text/javascript', REFRESH_SCRIPT],
    ['passkey.js', 'text/javascript', PASSKEY_SCRIPT],
    ['webauthn.js', 'text/javascript', webauthnLibrary()],
  ];
  for (const [name, type, text] of assets) {
    const headers = { 'cache-control': 'public, max-age=300', 'content-type': `${type}; charset=utf-8` };
    app.get(`/assets/${name}`, (c) => c.body(text, 200, headers));
  }
  app.get('/sign-in', (c) => signIn(c, deps));
  app.route('/', signedInPages(deps));
  return app;
}

function ownFile(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8');
}

/** As its package has it for pages: one file that brings all it needs. */
function webauthnLibrary(): string {
  const main = createRequire(import.meta.url).resolve('@simplewebauthn/browser');
  return readFileSync(join(dirname(main), '../dist/bundle/index.umd.min.js'), 'utf8');
}

/** `/sign-in?token=…`, the link that is printed or sent. It works once. */
async function signIn(c: Context, { sessions, publicUrl }: ConsoleDependencies): Promise<Response> {
  // A browser that only looks ahead must not use the link up.
  const ahead = [c.req.header('sec-purpose'), c.req.header('purpose')].some((value) =>
    value?.includes('prefetch'),
  );
  const token = c.req.query('token') ?? '';
  const session = ahead || c.req.method !== 'GET' ? null : await sessions.exchange(token);
  if (session === null) {
    return c.html(
      messagePage(
        'This link no longer works',
        'A sign-in link works once, and for a limited time. Ask for a new one.',
      ),
      403,
    );
  }
  setCookie(c, COOKIE, session, {
    httpOnly: true,
    sameSite: 'Strict',
    path: '/',
    secure: publicUrl.startsWith('https:'),
  });
  return c.html(signedInPage());
}

function signedInPages(deps: ConsoleDependencies): Hono<Env> {
  const app = new Hono<Env>();
  const { desk, sessions } = deps;
  const paths = [
    '/',
    '/requests',
    '/requests/:id',
    '/requests/:id/verdict',
    '/requests/:id/snooze',
    '/sign-out',
    ...PASSKEY_PATHS,
  ];
  for (const path of paths) {
    app.use(path, async (c, next) => {
      const refused = await refusedAgent(c, deps);
      if (refused !== null) return refused;
      const token = getCookie(c, COOKIE) ?? '';
      const found = token === '' ? null : await sessions.find(token);
      if (found === null) return signInFirst(c);
      c.set('session', { token, person: found.person, assurance: found.assurance });
      return next();
    });
  }
  app.get('/requests', (c) => c.redirect('/', 303));
  app.get('/', (c) => showList(c, deps));
  app.get('/requests/:id', async (c) => showRequest(c, deps, await desk.get(c.req.param('id')), 200, null));
  app.post('/requests/:id/verdict', (c) => takeVerdict(c, deps));
  app.post('/requests/:id/snooze', (c) => putOff(c, deps));
  passkeyRoutes(app, { ...deps, challenges: sessions.challenges });
  app.post('/sign-out', async (c) => {
    const form = await c.req.parseBody();
    if (!isOwnForm(c, deps.publicUrl, form['csrf'])) return crossSite(c);
    await sessions.end(c.get('session').token);
    deleteCookie(c, COOKIE, { path: '/' });
    return c.html(messagePage('Signed out', 'To sign in again, use a new sign-in link.'));
  });
  return app;
}

async function showList(c: Context<Env>, { desk, publicUrl }: ConsoleDependencies): Promise<Response> {
  const session = c.get('session');
  const [visitor, live, ended] = await Promise.all([
    visitorOf(desk, session, publicUrl),
    desk.list({ state: 'live', limit: 100 }),
    desk.list({ state: 'ended', limit: ENDED_SHOWN }),
  ]);
  const cards = live.map((view) => ({ view, ways: waysOf(desk, view, session) }));
  return c.html(listPage(visitor, cards, ended, new Date()));
}

async function showRequest(
  c: Context<Env>,
  { desk, publicUrl }: ConsoleDependencies,
  view: RequestView | null,
  status: ContentfulStatusCode,
  message: string | null,
): Promise<Response> {
  const session = c.get('session');
  if (view === null)
    return c.html(messagePage('No such request', 'It may belong to another installation.'), 404);
  const visitor = await visitorOf(desk, session, publicUrl);
  return c.html(requestPage(visitor, view, waysOf(desk, view, session), new Date(), message), status);
}

async function takeVerdict(c: Context<Env>, deps: ConsoleDependencies): Promise<Response> {
  const session = c.get('session');
  const id = c.req.param('id') ?? '';
  const form = await c.req.parseBody();
  if (!isOwnForm(c, deps.publicUrl, form['csrf'])) return crossSite(c);
  const { verdict, reason, alike } = form;
  const [, what, how] =
    /^(approve|deny)(_all|_passkey)?$/.exec(typeof verdict === 'string' ? verdict : '') ?? [];
  if (what !== 'approve' && what !== 'deny') {
    return showRequest(c, deps, await deps.desk.get(id), 422, 'Choose approve or deny.');
  }
  const passkey = how === '_passkey' ? assertionIn(form['passkey']) : undefined;
  if (passkey === null)
    return showRequest(
      c,
      deps,
      await deps.desk.get(id),
      422,
      'Passkeys need JavaScript: nothing was signed.',
    );
  const answer = {
    requestId: id,
    channel: 'console',
    person: identitiesOf(session),
    verdict: what,
    reason: typeof reason === 'string' ? reason : null,
    attestation: {
      assurance: session.assurance,
      facts: {},
      ...(passkey === undefined ? {} : { passkey }),
    },
  } as const;
  const { guard } = deps.desk;
  // Those that the page showed: what has joined them since was not decided about.
  const shown = typeof alike === 'string' ? alike.split(' ').slice(0, ALIKE_SHOWN) : [];
  const results = how !== '_all' ? [await guard.decide(answer)] : await guard.decideAll(answer, shown);
  const { status, message } = outcomeOf(results);
  if (message === null) return c.redirect(`/requests/${id}`, 303);
  // Shown here and not after a redirect; to load it again sends the same answer again, which changes nothing.
  return showRequest(c, deps, await deps.desk.get(id), status, message);
}

/** What the person is told; null: all is as they wanted it. */
function outcomeOf(results: readonly GuardResult[]): {
  readonly status: ContentfulStatusCode;
  readonly message: string | null;
} {
  const done = results.filter((result) => result.ok);
  const refused = results.find((result) => !result.ok);
  const notice = done.at(-1)?.notice ?? null;
  if (refused === undefined) return { status: 200, message: notice };
  const begin = done.length === 0 ? '' : `${done.length} were answered, then: `;
  return { status: GUARD_STATUS[refused.code], message: `${begin}${refused.message}` };
}

async function putOff(c: Context<Env>, deps: ConsoleDependencies): Promise<Response> {
  const session = c.get('session');
  const id = c.req.param('id') ?? '';
  const form = await c.req.parseBody();
  if (!isOwnForm(c, deps.publicUrl, form['csrf'])) return crossSite(c);
  const minutes = Number(form['minutes']);
  if (!Number.isInteger(minutes) || minutes < 0 || minutes > SNOOZE_MINUTES) {
    return showRequest(c, deps, await deps.desk.get(id), 422, 'Choose for how long.');
  }
  const refused = await deps.desk.snooze(id, identitiesOf(session), minutes);
  if (refused === null) return c.redirect(minutes === 0 ? `/requests/${id}` : '/', 303);
  return showRequest(c, deps, await deps.desk.get(id), GUARD_STATUS[refused.code], refused.message);
}

/** An agent's credential, even next to a valid session: refused, and an entry where it tried to answer. */
async function refusedAgent(c: Context<Env>, { desk, check }: ConsoleDependencies): Promise<Response | null> {
  const authorization = c.req.header('authorization');
  if (authorization === undefined) return null;
  const credential = await check(authorization);
  if (credential.kind !== 'agent') return null;
  const id = c.req.param('id');
  if (c.req.method === 'POST' && id !== undefined) {
    await desk.guard.decide({
      requestId: id,
      channel: 'console',
      person: [{ kind: 'agent', value: credential.agent }],
      verdict: 'approve',
      reason: null,
      attestation: { assurance: 1, facts: {} },
    });
  }
  return c.html(
    messagePage('Not for agents', "This is an agent's credential. Agents answer no requests."),
    403,
  );
}

function signInFirst(c: Context): Response | Promise<Response> {
  return c.html(
    messagePage(
      'Sign in first',
      'Open the one-time sign-in link that Countersign printed when it started, or answer with `countersign requests`.',
    ),
    401,
  );
}
