import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { secureHeaders } from 'hono/secure-headers';
import type { Logger } from 'pino';
import type { ApprovalDesk, RequestFeed, SnoozeDesk } from '../../approval/guard.ts';
import type { AuditSearch } from '../../audit/port.ts';
import type { Limits } from '../../config/limits.ts';
import { AUDIT_OPERATIONS, auditRoutes } from './audit.ts';
import type { Followers } from './followers.ts';
import { addressOf, type GatePorts, gateOf, tooMany } from './gate.ts';
import { INSTALLATION_OPERATIONS, type Installation, installationRoutes } from './installation.ts';
import { openApiDocument } from './openapi.ts';
import { type Operation, refuseOtherMethods } from './operation.ts';
import { problem } from './problem.ts';
import { REQUEST_OPERATIONS, requestRoutes } from './requests.ts';
import { SERVICE_OPERATIONS, type ServicePorts, serviceRoutes } from './service.ts';

export type HttpDependencies = GatePorts &
  ServicePorts &
  Installation & {
    readonly desk: ApprovalDesk & RequestFeed & SnoozeDesk;
    /** Null: there is no role as which to read the log. */
    readonly auditSearch: AuditSearch | null;
    /** Streams and waiting calls; whoever closes the server closes them first. */
    readonly followers: Followers;
    readonly limits: Limits;
    /** Of this program. */
    readonly version: string;
    /** The pages for people, mounted at `/`. */
    readonly console: Hono | null;
    readonly log: Pick<Logger, 'error'>;
  };

/** Every operation of the API, as it is served and documented. */
export const OPERATIONS: readonly Operation[] = [
  ...REQUEST_OPERATIONS,
  ...INSTALLATION_OPERATIONS,
  ...AUDIT_OPERATIONS,
  ...SERVICE_OPERATIONS,
];

/** Asked too often to be counted, by machines that keep this one running. */
const UNCOUNTED = new Set(['/livez', '/readyz']);

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
  app.use(async (c, next) => {
    if (UNCOUNTED.has(c.req.path) || deps.allowed.address(addressOf(c, deps) ?? '')) return next();
    return tooMany(c, 'Too many requests from this address.');
  });
  const { httpBodyBytes } = deps.limits;
  app.use(
    bodyLimit({
      maxSize: httpBodyBytes,
      onError: (c) => problem(c, 'body_too_large', `The body is longer than ${httpBodyBytes} bytes.`),
    }),
  );
  const gate = gateOf(deps);
  requestRoutes(app, gate, deps.desk, deps.followers);
  installationRoutes(app, gate, deps);
  auditRoutes(app, gate, deps.auditSearch, deps);
  serviceRoutes(app, gate, deps, openApiDocument(OPERATIONS, deps.version));
  refuseOtherMethods(app, OPERATIONS);
  if (deps.console !== null) app.route('/', deps.console);
  app.notFound((c) => problem(c, 'no_such_page', 'There is nothing here.'));
  app.onError((error, c) => {
    deps.log.error({ err: error, path: c.req.path }, 'HTTP request failed');
    return problem(c, 'unavailable', 'The request could not be handled now. Trying again is safe.');
  });
  return app;
}
