import type { Context, Hono } from 'hono';
import * as z from 'zod';
import type { Scope } from '../../config/config.ts';
import type { Caller } from './credentials.ts';
import { type ProblemCode, problem } from './problem.ts';

/** One route as it is served and as it is documented: what it takes and gives is checked and described from here. */
export type Operation<
  Q extends z.ZodObject = z.ZodObject,
  B extends z.ZodType = z.ZodType,
  R extends z.ZodType = z.ZodType,
> = {
  /** `operationId` of OpenAPI. */
  readonly id: string;
  readonly method: 'get' | 'post';
  /** In OpenAPI's form: `/api/requests/{id}`. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** A credential needs one of these; null: none is needed. */
  readonly scopes: readonly Scope[] | null;
  readonly query: Q;
  /** JSON. */
  readonly body?: B;
  /** What a client may send in headers, lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly answer: R;
  readonly answerType: AnswerType;
  /** Beside those that every route of its kind can answer with. */
  readonly problems: readonly ProblemCode[];
};

export type AnswerType =
  | 'application/json'
  | 'application/jose'
  | 'application/jwk-set+json'
  | 'text/event-stream'
  | 'text/plain';

export type Call<Q extends z.ZodObject, B extends z.ZodType> = {
  readonly c: Context;
  readonly query: z.output<Q>;
  /** Attacker-controlled, in the form that the operation asks for. */
  readonly body: z.output<B>;
  readonly caller: Caller;
};

/** Lets a caller in who may do one of `scopes`, or answers in the operation's place. */
export type Gate = (c: Context, operation: Operation, options: GateOptions) => Promise<Caller | Response>;

export type GateOptions = {
  /** The guard judges who this is, so that its refusal is an entry: people nobody knows and agents get to it. */
  readonly agentTried?: (c: Context, agent: string) => Promise<void>;
};

export const NO_QUERY = z.strictObject({});

/** Serves an operation. `handle` gives the answer's body, or a whole response where it is another one. */
export function serveOperation<Q extends z.ZodObject, B extends z.ZodType, R extends z.ZodType>(
  app: Hono,
  gate: Gate,
  operation: Operation<Q, B, R>,
  handle: (call: Call<Q, B>) => Promise<z.input<R> | Response>,
  options: GateOptions = {},
): void {
  app.on(operation.method.toUpperCase(), honoPath(operation.path), async (c) => {
    const caller = await gate(c, operation, options);
    if (caller instanceof Response) return caller;
    const query = operation.query.safeParse(c.req.query());
    if (!query.success) return problem(c, 'invalid_query', z.prettifyError(query.error));
    const body = operation.body === undefined ? undefined : await readBody(c, operation.body);
    if (body instanceof Response) return body;
    const answer = await handle({ c, query: query.data, body: body as z.output<B>, caller });
    return answer instanceof Response ? answer : c.json(answer as object);
  });
}

/** After all operations: what else is sent to their paths is 405, with `Allow`. */
export function refuseOtherMethods(app: Hono, operations: readonly Operation[]): void {
  const methods = new Map<string, string[]>();
  for (const { path, method } of operations) {
    const known = methods.get(path) ?? [];
    methods.set(path, [...known, ...(method === 'get' ? ['GET', 'HEAD'] : ['POST'])]);
  }
  for (const [path, allowed] of methods) {
    app.all(honoPath(path), (c) =>
      problem(c, 'method_not_allowed', `This address takes ${allowed.join(', ')}.`, {
        allow: allowed.join(', '),
      }),
    );
  }
}

/** What the body may be called; in any case it must be JSON. `curl -d` and the like call everything a form. */
const JSON_TYPES = /^(?:application\/(?:[\w.-]+\+)?json|application\/x-www-form-urlencoded|)$/;

async function readBody(c: Context, schema: z.ZodType): Promise<unknown> {
  const [type = ''] = (c.req.header('content-type') ?? '').split(';', 1);
  if (!JSON_TYPES.test(type.trim().toLowerCase()))
    return problem(c, 'unsupported_media_type', 'The body must be JSON: Content-Type: application/json.');
  const body = schema.safeParse(await c.req.json().catch(() => undefined));
  return body.success ? body.data : problem(c, 'invalid_body', z.prettifyError(body.error));
}

function honoPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}
