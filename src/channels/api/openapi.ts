import * as z from 'zod';
import type { Operation } from './operation.ts';
import { PROBLEM_STATUS, type ProblemCode } from './problem.ts';
import { NAMED, problemSchema } from './schemas.ts';

type Json = { readonly [key: string]: unknown };

/** What any operation with a credential can be refused with. */
const OF_CREDENTIALS: readonly ProblemCode[] = [
  'no_credential',
  'key_expired',
  'token_refused',
  'issuer_unavailable',
  'agent_credential',
  'unknown_person',
  'ambiguous_person',
  'scope_missing',
];

/** The document (OpenAPI 3.1) of these operations, made from the schemas that they check with. */
export function openApiDocument(operations: readonly Operation[], version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const operation of operations) {
    const methods = paths[operation.path] ?? {};
    methods[operation.method] = describe(operation);
    paths[operation.path] = methods;
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Countersign',
      version,
      description:
        'Requests for approval of what AI agents want to do in a database, and the answers of people. Errors are application/problem+json (RFC 9457) with a stable code.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: namedSchemas(),
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            "An API key of the configuration, or a token (JWT) of the people's issuer. Agents' credentials are refused.",
        },
      },
    },
  };
}

/** Codes by which an operation can refuse, without repetition. */
export function problemsOf(operation: Operation): readonly ProblemCode[] {
  return [
    ...new Set<ProblemCode>([
      ...(operation.scopes === null ? [] : OF_CREDENTIALS),
      ...(Object.keys(operation.query.shape).length === 0 && operation.scopes === null
        ? []
        : (['invalid_query'] as const)),
      ...(operation.body === undefined
        ? []
        : (['invalid_body', 'unsupported_media_type', 'body_too_large'] as const)),
      ...operation.problems,
      'rate_limited',
      'unavailable',
    ]),
  ];
}

function describe(operation: Operation): Json {
  const { id, summary, description, scopes, body } = operation;
  return {
    operationId: id,
    summary,
    ...(description === undefined ? {} : { description }),
    ...(scopes === null ? { security: [] } : { security: [{ bearer: [] }], 'x-scopes': scopes }),
    parameters: [...pathParameters(operation), ...queryParameters(operation), ...headerParameters(operation)],
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: inputSchema(body) } } } }),
    responses: { 200: success(operation), ...failures(operation) },
  };
}

function pathParameters({ path }: Operation): readonly Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters({ query }: Operation): readonly Json[] {
  return Object.entries(query.shape).map(([name, schema]) => {
    const { description, ...form } = inputSchema(schema as z.ZodType);
    return {
      name,
      in: 'query',
      required: false,
      ...(typeof description === 'string' ? { description } : {}),
      schema: form,
    };
  });
}

function headerParameters({ headers = {} }: Operation): readonly Json[] {
  return Object.entries(headers).map(([name, description]) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
  }));
}

function success({ answer, answerType, summary }: Operation): Json {
  const name = NAMED.get(answer)?.id;
  const schema = name === undefined ? inputSchema(answer) : { $ref: `#/components/schemas/${name}` };
  return { description: summary, content: { [answerType]: { schema } } };
}

function failures(operation: Operation): Json {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of problemsOf(operation)) {
    const status = PROBLEM_STATUS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      {
        description: codes.join(', '),
        ...(status === 429
          ? { headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } } }
          : {}),
        content,
      },
    ]),
  );
}

function inputSchema(schema: z.ZodType): Json {
  const { $schema: _, ...form } = z.toJSONSchema(schema, { io: 'input' });
  return form;
}

function namedSchemas(): Json {
  const { schemas } = z.toJSONSchema(NAMED, { uri: (id) => `#/components/schemas/${id}` });
  if (NAMED.get(problemSchema) === undefined) throw new Error('problems have no schema');
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _schema, $id: _id, ...form }]) => [id, form]),
  );
}
