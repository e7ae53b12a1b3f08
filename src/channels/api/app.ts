import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { secureHeaders } from 'hono/secure-headers';
import type { Logger } from 'pino';
import type { ApprovalDesk } from '../../approval/guard.ts';
import type { Agent, ApiKey } from '../../config/config.ts';
import { credentialCheck } from './credentials.ts';
import { problem } from './problem.ts';
import { requestRoutes } from './requests.ts';

export type Readiness = { readonly ok: boolean; readonly checks: Readonly<Record<string, string>> };

export type HttpDependencies = {
  readonly desk: ApprovalDesk;
  readonly apiKeys: readonly ApiKey[];
  readonly agents: readonly Pick<Agent, 'name' | 'auth'>[];
  /** `limits.httpBodyBytes`. */
  readonly bodyBytes: number;
  /** RFC 7517; public keys only. */
  readonly jwks: () => { readonly keys: readonly object[] };
  readonly readiness: () => Promise<Readiness>;
  /** Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  /** The pages for people, mounted at `/`. */
  readonly console: Hono | null;
  readonly log: Pick<Logger, 'error'>;
};

/** Everything that Countersign serves over HTTP. No socket: give `app.fetch` to a server. */
export function createHttpApp(deps: HttpDependencies): Hono {
  const app = new Hono();
  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        styleSrc: ["'self'"],
        scriptSrc: ["'self'"],
        connectSrc: ["'self'"],
        imgSrc: ["'self'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        baseUri: ["'none'"],
      },
      // Not `no-referrer`: browsers then send `Origin: null` with our own forms.
      referrerPolicy: 'same-origin',
      xFrameOptions: 'DENY',
      // Whether there is TLS in front is the operator's business.
      strictTransportSecurity: false,
    }),
  );
  app.use(async (c, next) => {
    await next();
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store');
  });
  app.use(
    bodyLimit({
      maxSize: deps.bodyBytes,
      onError: (c) => problem(c, 413, 'body_too_large', `The body is longer than ${deps.bodyBytes} bytes.`),
    }),
  );
  app.get('/livez', (c) => c.text('ok\n'));
  app.get('/readyz', async (c) => {
    const { ok, checks } = await deps.readiness();
    return c.json({ ok, checks }, ok ? 200 : 503);
  });
  app.get('/metrics', async (c) =>
    c.body(await deps.metrics(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  app.get('/.well-known/jwks.json', (c) =>
    c.json(deps.jwks(), 200, {
      'cache-control': 'public, max-age=300',
      'content-type': 'application/jwk-set+json',
    }),
  );
  app.route('/api/requests', requestRoutes(deps.desk, credentialCheck(deps.apiKeys, deps.agents)));
  if (deps.console !== null) app.route('/', deps.console);
  app.notFound((c) => problem(c, 404, 'no_such_page', 'There is nothing here.'));
  app.onError((error, c) => {
    deps.log.error({ err: error, path: c.req.path }, 'HTTP request failed');
    return problem(c, 503, 'unavailable', 'The request could not be handled now. Trying again is safe.');
  });
  return app;
}
