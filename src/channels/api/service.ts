import type { Hono } from 'hono';
import * as z from 'zod';
import { type Gate, type Operation, serveOperation } from './operation.ts';
import { problem } from './problem.ts';
import { jwksSchema, readinessSchema } from './schemas.ts';

export type Readiness = { readonly ok: boolean; readonly checks: Readonly<Record<string, string>> };

export type ServicePorts = {
  /** RFC 7517; public keys only. */
  readonly jwks: () => { readonly keys: readonly object[]; readonly revoked?: readonly object[] };
  readonly readiness: () => Promise<Readiness>;
  /** The newest checkpoint of the audit log that is known here, a signed note; null: none was made so far. */
  readonly checkpoint: () => string | null;
  /** Prometheus' text format. */
  readonly metrics: () => Promise<string>;
};

/** Whoever probes may add what they like. */
const ANY_QUERY = z.object({});

const isAlive = {
  id: 'isAlive',
  method: 'get',
  path: '/livez',
  summary: 'The process answers',
  scopes: null,
  query: ANY_QUERY,
  answer: z.string(),
  answerType: 'text/plain',
  problems: [],
} as const satisfies Operation;

const isReady = {
  id: 'isReady',
  method: 'get',
  path: '/readyz',
  summary: 'Ready for new sessions; 503 with the same form where it is not',
  scopes: null,
  query: ANY_QUERY,
  answer: readinessSchema,
  answerType: 'application/json',
  problems: [],
} as const satisfies Operation;

const showMetrics = {
  id: 'showMetrics',
  method: 'get',
  path: '/metrics',
  summary: "Metrics in Prometheus' text format",
  scopes: null,
  query: ANY_QUERY,
  answer: z.string(),
  answerType: 'text/plain',
  problems: [],
} as const satisfies Operation;

const showKeys = {
  id: 'showKeys',
  method: 'get',
  path: '/.well-known/jwks.json',
  summary: 'Public keys that verify receipts and the audit log (RFC 7517)',
  scopes: null,
  query: ANY_QUERY,
  answer: jwksSchema,
  answerType: 'application/jwk-set+json',
  problems: [],
} as const satisfies Operation;

const showCheckpoint = {
  id: 'showCheckpoint',
  method: 'get',
  path: '/checkpoint',
  summary: 'The newest checkpoint of the audit log',
  description:
    'A signed note (c2sp.org/tlog-checkpoint) by a key of /.well-known/jwks.json; at most some minutes old. It tells how many batches the log has, and nothing of what is in them, so that witnesses need no credential.',
  scopes: null,
  query: ANY_QUERY,
  answer: z.string(),
  answerType: 'text/plain',
  problems: ['no_checkpoint'],
} as const satisfies Operation;

const showDescription = {
  id: 'showDescription',
  method: 'get',
  path: '/api/openapi.json',
  summary: 'This description (OpenAPI 3.1)',
  scopes: null,
  query: ANY_QUERY,
  answer: z.looseObject({ openapi: z.string() }),
  answerType: 'application/json',
  problems: [],
} as const satisfies Operation;

export const SERVICE_OPERATIONS: readonly Operation[] = [
  isAlive,
  isReady,
  showMetrics,
  showKeys,
  showCheckpoint,
  showDescription,
];

/** For machines that run and watch this program. `description`: of the whole API. */
export function serviceRoutes(app: Hono, gate: Gate, ports: ServicePorts, description: object): void {
  serveOperation(app, gate, isAlive, async ({ c }) => c.text('ok\n'));
  serveOperation(app, gate, isReady, async ({ c }) => {
    const { ok, checks } = await ports.readiness();
    return c.json({ ok, checks }, ok ? 200 : 503);
  });
  serveOperation(app, gate, showMetrics, async ({ c }) =>
    c.body(await ports.metrics(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  serveOperation(app, gate, showKeys, async ({ c }) =>
    c.json(ports.jwks(), 200, {
      'cache-control': 'public, max-age=300',
      'content-type': 'application/jwk-set+json',
    }),
  );
  serveOperation(app, gate, showCheckpoint, async ({ c }) => {
    const note = ports.checkpoint();
    if (note === null) return problem(c, 'no_checkpoint', 'No checkpoint of the log is known here so far.');
    return c.body(note, 200, { 'content-type': 'text/plain; charset=utf-8' });
  });
  serveOperation(app, gate, showDescription, async ({ c }) =>
    c.json(description, 200, { 'cache-control': 'public, max-age=300' }),
  );
}
