import { Hono } from 'hono';
import { OPERATIONS } from '../../../src/channels/api/app.ts';
import { problemsOf } from '../../../src/channels/api/openapi.ts';
import type { Operation } from '../../../src/channels/api/operation.ts';
import { PROBLEM_STATUS, type ProblemCode } from '../../../src/channels/api/problem.ts';
import { problemSchema } from '../../../src/channels/api/schemas.ts';

/** The same app, which throws when an answer of the API is not what its operation says it answers. */
export function conforming(app: Hono): Hono {
  const outer = new Hono();
  outer.all('*', async (c) => {
    const response = await app.fetch(c.req.raw, c.env);
    const operation = operationOf(c.req.method, c.req.path);
    // A copy of a stream would have to be read to its end, too.
    const stream = response.headers.get('content-type') === 'text/event-stream';
    if (operation !== undefined) await requireFit(operation, stream ? headOf(response) : response.clone());
    return response;
  });
  outer.onError((error) => {
    throw error;
  });
  return outer;
}

function headOf({ status, headers }: Response): Response {
  return new Response(null, { status, headers });
}

export function operationOf(method: string, path: string): Operation | undefined {
  return OPERATIONS.find(
    (operation) =>
      operation.method === (method === 'HEAD' ? 'get' : method.toLowerCase()) &&
      new RegExp(`^${operation.path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}$`).test(path),
  );
}

/** Throws where status, type or body are not those of the operation's description. */
export async function requireFit(operation: Operation, response: Response): Promise<void> {
  const type = (response.headers.get('content-type') ?? '').split(';', 1)[0];
  const ready = operation.id === 'isReady' && response.status === 503;
  if (response.status === 200 || ready) {
    if (type !== operation.answerType) throw new Error(`${operation.id}: type ${type}`);
    if (type === 'text/event-stream') return;
    const text = await response.text();
    operation.answer.parse(type?.endsWith('json') ? JSON.parse(text) : text);
    return;
  }
  if (type !== 'application/problem+json')
    throw new Error(`${operation.id}: ${response.status} of type ${type}`);
  const { code, status } = problemSchema.parse(await response.json());
  const known = problemsOf(operation).find((one) => one === code) as ProblemCode | undefined;
  if (known === undefined) throw new Error(`${operation.id}: undescribed code ${code}`);
  if (status !== response.status || PROBLEM_STATUS[known] !== status)
    throw new Error(`${operation.id}: ${code} with ${response.status}`);
}

/** What a body looks like, by operation. */
export const EXAMPLES: Readonly<Record<string, object>> = {
  giveVerdict: { verdict: 'deny' },
  putOff: { minutes: 15 },
};
/** Where a walk over a new request ends with something else than 200. */
export const WALKED: Readonly<Record<string, number>> = {
  withdrawApproval: 409,
  showReceipt: 404,
};
