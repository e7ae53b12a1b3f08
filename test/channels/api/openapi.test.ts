import { Validator } from '@seriousme/openapi-schema-validator';
import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FoundStatement } from '../../../src/audit/port.ts';
import { createHttpApp, OPERATIONS } from '../../../src/channels/api/app.ts';
import { problemsOf } from '../../../src/channels/api/openapi.ts';
import { PROBLEM_STATUS } from '../../../src/channels/api/problem.ts';
import { type ApprovalWorld, approvalWorld, question } from '../../approval/support.ts';
import { EXAMPLES, operationOf, WALKED } from './conformance.ts';
import { type HttpWorld, httpWorld, PUBLIC_URL, sha256 } from './support.ts';

const FOUND: FoundStatement = {
  ...{ stream: 's1', seq: 7n, atUs: 1_700_000_000_000_001n, sessionId: 'x', agent: 'a', owner: 'o' },
  ...{ onBehalfOf: null, run: null, database: 'd', role: 'r', sql: 'SELECT 1', cut: false, sqlSha256: 'ab' },
  ...{ class: 'read', decision: 'allow', rule: 'default:read', reasons: [], relations: [], requestId: null },
  ...{ approvers: [], outcome: 'executed', tag: 'SELECT 1', rows: 1n, bytes: 9n, durationUs: 5n },
  ...{ sqlstate: null, policyDigest: 'p' },
};

let world: ApprovalWorld;
let http: HttpWorld;
let document: Document;
type Described = {
  readonly operationId: string;
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
  readonly security: readonly object[];
};
type Document = {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
};

beforeAll(async () => {
  world = await approvalWorld('apopen');
  http = await httpWorld(world, PUBLIC_URL, {
    apiKeys: [
      {
        name: 'everything',
        sha256: sha256('reviewer-token'),
        person: 'reviewer',
        scopes: ['read', 'deny', 'approve', 'audit'],
      },
    ],
    changes: { auditSearch: { statements: async () => [FOUND] } },
  });
  document = (await (await http.app.request('/api/openapi.json')).json()) as Document;
});
afterAll(() => world?.close());

const described = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

it('is OpenAPI 3.1 by its own schema, and all that it refers to is there', async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(document) as unknown as Record<string, unknown>);
  expect(result.errors ?? []).toEqual([]);
  expect(validator.version).toBe('3.1');
  const broken = await new Validator().validate({ ...structuredClone(document), paths: { x: { get: 1 } } });
  expect(broken.valid).toBe(false);
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)];
  expect(references.length).toBeGreaterThan(20);
  for (const [, name = ''] of references) expect(document.components.schemas).toHaveProperty(name);
});

it('has every route of the API, and no other', () => {
  // The pages for people are not part of the API.
  const bare = createBare();
  const served = bare.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`);
  const told = described().map(({ method, path }) => `${method.toUpperCase()} ${path}`);
  expect(told.length).toBeGreaterThan(10);
  expect([...new Set(served)].sort()).toEqual(told.sort());
  const ids = described().map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
});

function createBare(): Hono {
  return createHttpApp({
    ...http.dependencies,
    console: null,
  });
}

describe('walking every operation', () => {
  const headers = { authorization: 'Bearer reviewer-token', 'content-type': 'application/json' };

  it.each(OPERATIONS.map((operation) => [operation.id, operation] as const))('%s', async (_id, operation) => {
    const { id } = await http.approvals.open(question({ text: `DROP TABLE walk_${operation.id}` }));
    const path = operation.path.replace('{id}', id);
    expect(operationOf(operation.method, path)).toBe(operation);
    const stop = new AbortController();
    const body = operation.method === 'post' ? JSON.stringify(EXAMPLES[operation.id] ?? {}) : null;
    // The world's app throws where an answer is not as described.
    const answer = await http.app.request(path, {
      method: operation.method.toUpperCase(),
      headers,
      body,
      signal: stop.signal,
    });
    expect(WALKED[operation.id] ?? 200).toBe(answer.status);
    if (operation.answerType === 'text/event-stream') await answer.body?.cancel();

    const bare = await http.app.request(path, { method: operation.method.toUpperCase(), body });
    if (operation.scopes === null) expect(bare.status).toBe(200);
    else expect(bare.status).toBe(401);
    await bare.body?.cancel();

    const other = await http.app.request(path, { method: 'DELETE', headers });
    expect(other.status).toBe(405);
    expect(other.headers.get('allow')?.split(', ')).toContain(operation.method.toUpperCase());
    expect(await other.json()).toMatchObject({ code: 'method_not_allowed' });
  });

  it('with what nobody takes', async () => {
    const { id } = await http.approvals.open(question({ text: 'DROP TABLE walk_wrong' }));
    for (const operation of OPERATIONS.filter(({ scopes }) => scopes !== null)) {
      const path = operation.path.replace('{id}', id);
      const call = (query: string, type: string, body: string | null) =>
        http.app.request(`${path}${query}`, {
          method: operation.method.toUpperCase(),
          headers: { ...headers, 'content-type': type },
          body,
        });
      const json = 'application/json';
      const unknown = await call('?nobody_knows=1', json, operation.body === undefined ? null : '{}');
      expect([operation.id, unknown.status]).toEqual([operation.id, 422]);
      if (operation.body === undefined) continue;
      expect((await call('', 'text/plain', '{}')).status).toBe(415);
      expect((await call('', json, '{')).status).toBe(422);
      expect((await call('', json, JSON.stringify({ reason: 'x'.repeat(70_000) }))).status).toBe(413);
    }
  });
});

it('gives the newest checkpoint to anybody, as text, and says where there is none', async () => {
  const answer = await http.app.request('/checkpoint');
  expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
    200,
    'text/plain; charset=utf-8',
    'a signed note\n',
  ]);
  const without = createHttpApp({ ...http.dependencies, checkpoint: () => null });
  const none = await without.request('/checkpoint');
  expect(none.status).toBe(404);
  expect(await none.json()).toMatchObject({ code: 'no_checkpoint' });
});

it('tells every status by which an operation can refuse', () => {
  for (const { path, method, operation } of described()) {
    const known = operationOf(method, path.replace(/\{\w+\}/g, 'x'));
    const statuses = (known === undefined ? [] : problemsOf(known)).map((code) =>
      String(PROBLEM_STATUS[code]),
    );
    expect(Object.keys(operation.responses).sort()).toEqual([...new Set(['200', ...statuses])].sort());
    expect(operation.responses['429']?.description).toContain('rate_limited');
  }
});
